//! A disk that fails to sync: the server stops, because nothing it knows can be trusted any more,
//! and nothing that it promised is missing afterwards.

use std::path::Path;
use std::process::Command;

use super::disk::{Server, prepare, program};

/// Builds the library whose syncs fail once the file `FAIL_SYNC` exists. SQLite is compiled with
/// the same compiler.
fn failing_sync(folder: &Path) -> String {
    let library = folder.join("failing_sync.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/failing_sync.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source)
        .status();
    assert!(compiled.unwrap().success());
    library.display().to_string()
}

#[test]
fn a_failed_sync_stops_the_server_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("recado.db");
    let sign = folder.path().join("fail");
    let key = prepare(&database);
    let mut launcher = Command::new("env");
    launcher
        .arg(format!("LD_PRELOAD={}", failing_sync(folder.path())))
        .arg(format!("FAIL_SYNC={}", sign.display()))
        .args([env!("CARGO_BIN_EXE_recado"), "serve"]);
    let mut server = Server::start(launcher, &database, &key);
    let mut promised: Vec<String> = (0..5)
        .map(|n| {
            let answer = server.post(n);
            assert_eq!(answer.status, 202, "{}", answer.body);
            answer.json()["id"].as_str().unwrap().to_owned()
        })
        .collect();
    promised.sort();

    std::fs::write(&sign, "").unwrap();
    // No answer at all, or at least no promise.
    let unanswered = server.try_post(5);
    assert!(unanswered.is_none_or(|answer| answer.status >= 500));
    let ended = server.wait();
    assert_eq!(ended.code(), Some(70), "{ended}");

    std::fs::remove_file(&sign).unwrap();
    let mut launcher = Command::new(env!("CARGO_BIN_EXE_recado"));
    launcher.arg("serve");
    let server = Server::start(launcher, &database, &key);
    let kept = server.ids();
    for id in &promised {
        assert!(kept.contains(id), "{id} was promised and is gone");
    }
    let verified = program(&database).arg("verify").output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
}
