//! `recado demo`: one run of it, from the rows of the sheet to the comparison with the truth.

use serde_json::json;

use super::{ended, lines};
use crate::gateway::{Folder, command};

#[test]
fn the_demo_loses_nothing_and_doubles_nothing() {
    let folder = Folder::new();
    let output = command(&["demo", "--exit", "--json"], &[])
        .current_dir(folder.0.path())
        .output()
        .unwrap();
    ended(&output, 0);
    let lines = lines(&output);
    let report = lines.last().unwrap();
    for field in [
        "accepted",
        "refused",
        "delivered",
        "read",
        "failed",
        "unknown",
        "suppressed",
        "lost",
        "doubled",
        "rows",
        "repeated",
        "at_provider",
        "behind",
    ] {
        assert!(report[field].is_u64(), "{field} {report:#}");
    }
    assert!(report["seconds"].as_f64().unwrap() < 60.0, "{report:#}");
    assert_eq!(report["lost"], 0, "{report:#}");
    assert_eq!(report["doubled"], 0, "{report:#}");
    assert_eq!(report["accepted"], 485, "{report:#}");
    assert_eq!(report["recount_differences"], json!([]));
    let sum: u64 = report["states"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(sum, 485);
    let parts = ["accepted", "refused", "repeated"].map(|field| report[field].as_u64().unwrap());
    assert_eq!(parts.iter().sum::<u64>(), report["rows"].as_u64().unwrap());
    assert!(
        report["suppressed"].as_u64().unwrap() >= 1,
        "one answers SAIR: {report:#}"
    );
    for error in report["errors"].as_array().unwrap() {
        assert!(error["advice"].as_str().unwrap().len() > 10, "{error:#}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.0.path()).unwrap().collect();
    assert!(left.is_empty(), "nothing is left behind");
}
