//! What a reader should be able to rely on, kept by looking at the sources: who imports whom, how
//! long things are, and that words and settings are documented.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The floors of the house; a room imports only from floors below its own, and rooms on one floor
/// never import each other.
const FLOORS: &[&[&str]] = &[
    &["config", "effects", "secrets"],
    &["store", "provider"],
    &["api", "callbacks", "dispatch", "maintenance", "reconcile"],
    &["server"],
    &["cli"],
];

/// Edges inside a floor that are allowed, each with its reason.
const NEIGHBOURS: &[(&str, &str)] = &[
    // Settings hold keys and secrets, and a key that is not there yet needs random bits.
    ("config", "secrets"),
    ("config", "effects"),
    ("secrets", "effects"),
];

/// Functions that are longer than the rule of 70 lines, and files longer than 500. The list may
/// only shrink.
const LONG_FUNCTIONS: &[&str] = &[];
const LONG_FILES: &[&str] = &[];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Every source file that is not a test, with its text up to the tests at its end.
fn production() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for krate in ["delivery", "simulator", "recado"] {
        for path in sources(&root().join("crates").join(krate).join("src")) {
            if path.file_name().is_some_and(|file| file == "tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            files.push((name(&path), text[..end].to_owned()));
        }
    }
    assert!(files.len() > 40, "the sources were found");
    files
}

fn room(file: &str) -> Option<String> {
    let inside = file.strip_prefix("crates/recado/src/")?;
    let first = inside.split('/').next()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

#[test]
fn imports_go_down_one_ladder() {
    let mut wrong = Vec::new();
    for (file, text) in production() {
        let Some(from) = room(&file).and_then(|room| Some((floor(&room)?, room))) else {
            continue;
        };
        for (place, _) in text.match_indices("crate::") {
            let rest = &text[place + "crate::".len()..];
            let to: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            let Some(to_floor) = floor(&to) else { continue };
            let neighbour = NEIGHBOURS.contains(&(from.1.as_str(), to.as_str()));
            if to != from.1 && to_floor >= from.0 && !neighbour {
                wrong.push(format!("{file} imports crate::{to}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports go down only (see ARCHITECTURE.md):\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_rules_and_the_witness_know_nothing_of_the_program() {
    for (file, text) in production() {
        let foreign: &[&str] = if file.starts_with("crates/delivery") {
            &[
                "recado::",
                "simulator::",
                "tokio",
                "serde",
                "std::fs",
                "std::net",
                "std::env",
            ]
        } else if file.starts_with("crates/simulator") {
            &["recado::", "delivery::"]
        } else {
            &[]
        };
        for word in foreign {
            assert!(!text.contains(word), "{file} mentions {word}");
        }
    }
}

/// Who may do what, with what to use instead.
#[test]
fn banned_calls_stay_in_their_rooms() {
    let bans: &[(&str, &[&str], &str)] = &[
        (
            "SystemTime::now",
            &["crates/recado/src/effects.rs", "crates/simulator/"],
            "effects.clock",
        ),
        ("std::env::var", &["crates/recado/src/config/"], "config"),
        ("println!", &[], "cli::print"),
        ("eprintln!", &[], "cli::print"),
        (
            "SELECT ",
            &["crates/recado/src/store/sqlite/"],
            "a verb of the store",
        ),
        (
            "rusqlite",
            &["crates/recado/src/store/sqlite"],
            "a verb of the store",
        ),
        (
            "X-Twilio-Signature",
            &["crates/recado/src/callbacks/", "crates/simulator/"],
            "callbacks",
        ),
        (
            "rand::",
            &["crates/recado/src/effects.rs", "crates/simulator/"],
            "effects.random",
        ),
    ];
    let mut wrong = Vec::new();
    for (file, text) in production() {
        for (call, homes, instead) in bans {
            let at_home = homes.iter().any(|home| file.starts_with(home));
            let used = text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(call));
            if used && !at_home {
                wrong.push(format!("{file} uses {call}; use {instead}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn functions_and_files_stay_short() {
    let (mut functions, mut files) = (Vec::new(), Vec::new());
    for (file, text) in production() {
        if text.lines().count() > FILE_LINES_MAX {
            files.push(file.clone());
        }
        functions.extend(long_functions(&file, &text));
    }
    assert_eq!(files, LONG_FILES, "files over {FILE_LINES_MAX} lines");
    assert_eq!(
        functions, LONG_FUNCTIONS,
        "functions over {FUNCTION_LINES_MAX} lines"
    );
}

/// A function starts at a line with `fn` and ends at the closing brace of the same indentation,
/// which the formatter guarantees.
fn long_functions(file: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start();
        let is_function = words.split_once("fn ").is_some_and(|(before, _)| {
            before
                .split_whitespace()
                .all(|word| word.starts_with("pub") || ["const", "async"].contains(&word))
        });
        if !is_function || words.ends_with(';') {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        let length = lines[at..]
            .iter()
            .position(|line| *line == close)
            .map_or(0, |n| n + 1);
        if length > FUNCTION_LINES_MAX {
            found.push(format!("{file}: {words} ({length} lines)"));
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is_for() {
    for (file, text) in production() {
        assert!(
            text.starts_with("//!"),
            "{file} does not start with a //! line"
        );
    }
}

#[test]
fn every_room_is_on_the_map_and_the_map_names_no_other() {
    let map = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let described: BTreeSet<String> = map
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

#[test]
fn every_setting_is_documented_and_every_documented_setting_is_read() {
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|rest| rest.split('`').next())
        .map(str::to_owned)
        .collect();
    let settings: BTreeSet<String> = recado::config::SETTINGS
        .iter()
        .map(|setting| setting.name.to_owned())
        .collect();
    assert_eq!(
        documented, settings,
        "docs/configuration.md and the list of settings"
    );
    let sources: String = production().into_iter().map(|(_, text)| text).collect();
    for setting in &settings {
        let uses = sources.matches(&format!("\"{setting}\"")).count();
        assert!(uses > 1, "{setting} is listed and read nowhere");
    }
}
