//! What the documents list is what the program has.

use std::collections::BTreeSet;

use delivery::address::Reason;
use delivery::event::EventKind;

use super::source::{production, read, root, strings};

#[test]
fn every_file_says_what_it_is_for() {
    for file in production() {
        assert!(
            file.text.starts_with("//!"),
            "{} does not start with a //! line",
            file.name
        );
    }
}

#[test]
fn every_room_is_on_the_map_and_the_map_names_no_other() {
    let described: BTreeSet<String> = read("ARCHITECTURE.md")
        .lines()
        .filter_map(|line| line.strip_prefix("### `"))
        .filter_map(|rest| rest.split('`').next())
        .map(|path| {
            path.trim_end_matches('/')
                .trim_end_matches(".rs")
                .to_owned()
        })
        .collect();
    let mut rooms = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("crates/recado/src")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let room = file.trim_end_matches(".rs").to_owned();
        if !matches!(room.as_str(), "lib" | "main") {
            rooms.insert(room);
        }
    }
    assert_eq!(
        described, rooms,
        "the rooms described in ARCHITECTURE.md and the rooms there are"
    );
}

/// The words in the first column of the tables whose head begins with `head`.
fn first_column(page: &str, head: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with(&format!("| {head} |")) {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside {
            let cell = line.split('|').nth(1).unwrap_or_default();
            found.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    assert!(!found.is_empty(), "there is a table of {head}");
    found
}

#[test]
fn every_setting_is_documented_and_every_documented_setting_is_read() {
    let documented = first_column(&read("docs/configuration.md"), "Setting");
    let settings: BTreeSet<String> = recado::config::SETTINGS
        .iter()
        .map(|setting| setting.name.to_owned())
        .collect();
    assert_eq!(
        documented, settings,
        "docs/configuration.md and the list of settings"
    );
    for setting in &settings {
        let quoted = format!("\"{setting}\"");
        let uses: usize = production()
            .iter()
            .map(|file| file.text.matches(&quoted).count())
            .sum();
        assert!(uses > 1, "{setting} is listed and read nowhere");
    }
}

#[test]
fn every_event_is_documented_and_every_documented_event_happens() {
    let documented = first_column(&read("docs/api.md"), "Event");
    let events: BTreeSet<String> = EventKind::ALL
        .iter()
        .map(|kind| format!("message.{}", kind.as_str()))
        .collect();
    assert_eq!(documented, events, "docs/api.md and the kinds of events");
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_is_written() {
    let documented = first_column(&read("docs/metrics.md"), "Metric");
    let page = production()
        .iter()
        .find(|file| file.name.ends_with("api/prometheus.rs"))
        .unwrap();
    let written: BTreeSet<String> = strings(&page.text)
        .into_iter()
        .map(|(string, _)| string)
        .filter(|string| string.starts_with("recado_"))
        .collect();
    assert_eq!(documented, written, "docs/metrics.md and api/prometheus.rs");
}

/// Codes that are put together from the name of a field and a word.
const MADE_CODES: &[&str] = &["_unknown"];

#[test]
fn every_problem_is_documented_and_every_documented_problem_can_happen() {
    let documented = first_column(&read("docs/api.md"), "Code");
    let makers = [
        "crates/recado/src/api/",
        "crates/recado/src/server/",
        "crates/delivery/src/message/draft.rs",
    ];
    let mut quoted = BTreeSet::new();
    let mut codes: BTreeSet<String> = Reason::ALL
        .iter()
        .map(|reason| reason.as_str().to_owned())
        .collect();
    for file in production() {
        let makes = makers.iter().any(|maker| file.name.starts_with(maker));
        if !makes || file.name.ends_with("prometheus.rs") {
            continue;
        }
        for (string, behind) in strings(&file.text) {
            if is_code(&string) && file.text.contains("Problem") && a_detail_follows(&behind) {
                codes.insert(string.clone());
            }
            quoted.insert(string);
        }
    }
    let undocumented: Vec<_> = codes.difference(&documented).collect();
    assert!(
        undocumented.is_empty(),
        "problems that docs/api.md does not list: {undocumented:?}"
    );
    let impossible: Vec<_> = documented
        .difference(&codes)
        .filter(|code| !quoted.contains(*code))
        .filter(|code| !MADE_CODES.iter().any(|end| code.ends_with(end)))
        .collect();
    assert!(
        impossible.is_empty(),
        "problems that docs/api.md lists and nothing gives: {impossible:?}"
    );
}

fn is_code(string: &str) -> bool {
    !string.is_empty() && string.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// A code is followed by its detail: a sentence, or what makes one.
fn a_detail_follows(behind: &str) -> bool {
    let Some(rest) = behind.trim_start().strip_prefix(',') else {
        return false;
    };
    let rest = rest.trim_start();
    ["format!(", "detail"]
        .iter()
        .any(|word| rest.starts_with(word))
        || rest
            .strip_prefix('"')
            .is_some_and(|text| text.starts_with(char::is_uppercase))
}

/// Places that the map names for things that do not exist yet.
const PLANNED: &[&str] = &["alerts/", "crates/delivery/src/alert.rs", "dashboard/"];

/// A path in a document is written from the top, or from the sources of the program.
#[test]
fn every_path_that_a_document_names_exists() {
    let mut wrong = Vec::new();
    for path in super::source::files_below(&root(), &["md"]) {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if name.starts_with("target") || name == "CHANGELOG.md" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for (place, quoted) in text.split('`').enumerate() {
            let is_path = place % 2 == 1
                && (quoted.ends_with('/') || quoted.ends_with(".rs") || quoted.ends_with(".csv"))
                && quoted.contains('/')
                && !quoted.starts_with('/')
                && !quoted.contains(['<', '*', '{', ' ', ':'])
                && !quoted.starts_with("NAME")
                && !PLANNED.contains(&quoted);
            let exists = [
                "",
                "crates/",
                "crates/recado/",
                "crates/recado/src/",
                "crates/delivery/",
            ]
            .iter()
            .any(|from| root().join(from).join(quoted).exists());
            if is_path && !exists {
                wrong.push(format!("{name} names {quoted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
