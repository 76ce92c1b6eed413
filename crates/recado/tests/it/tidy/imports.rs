//! Who imports whom, and who may do what.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{production, read, words};

/// The layers of the program; a room imports only from layers above its own in this list, and rooms
/// of one layer never import each other.
const LAYERS: &[&[&str]] = &[
    &["config", "effects", "secrets"],
    &["store", "provider"],
    &["api", "callbacks", "dispatch", "maintenance", "reconcile"],
    &["server"],
    &["cli"],
];

/// Imports inside a layer that are allowed, each with its reason.
const NEIGHBORS: &[(&str, &str)] = &[
    // Settings hold keys and secrets, and a key that is not there yet needs random bits.
    ("config", "secrets"),
    ("config", "effects"),
    ("secrets", "effects"),
];

fn room(file: &str) -> Option<String> {
    let inside = file.strip_prefix("crates/recado/src/")?;
    let first = inside.split('/').next()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// The lines of the drawing in ARCHITECTURE.md that begins with `first` or stands after it.
fn drawing(first: &str) -> Vec<Vec<String>> {
    let map = read("ARCHITECTURE.md");
    let (_, after) = map.split_once(first).expect("the drawing is on the map");
    let (lines, _) = after.split_once("```").expect("the drawing ends");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    lines.lines().map(words).collect()
}

#[test]
fn the_layers_on_the_map_are_those_of_the_program() {
    let mut drawn = drawing("\n```\ncli\n");
    // The crate of the rules is below everything, and one layer carries a remark.
    assert_eq!(drawn.pop().unwrap(), ["delivery", "(crate)"]);
    let mut layers: Vec<BTreeSet<&str>> = drawn
        .iter()
        .map(|line| line.iter().map(String::as_str))
        .map(|words| words.take_while(|word| *word != "never").collect())
        .collect();
    layers.insert(0, BTreeSet::from(["cli"]));
    layers.reverse();
    let known: Vec<BTreeSet<&str>> = LAYERS
        .iter()
        .map(|rooms| rooms.iter().copied().collect())
        .collect();
    assert_eq!(layers, known);
}

#[test]
fn rooms_hold_what_the_map_says() {
    for line in drawing("\nroom          traits of the store            the provider\n") {
        let (room, rest) = line.split_first().unwrap();
        let drawn: BTreeSet<&str> = rest
            .iter()
            .map(|word| word.trim_end_matches(','))
            .filter(|word| word.starts_with(char::is_uppercase))
            .collect();
        let folder = format!("crates/recado/src/{room}/");
        let mut held = BTreeSet::new();
        let mut provider = false;
        for file in production()
            .iter()
            .filter(|file| file.name.starts_with(&folder))
        {
            for (place, _) in file.code.match_indices("Arc<dyn ") {
                let path = &file.code[place + "Arc<dyn ".len()..];
                let path = path.split('>').next().unwrap();
                match path.rsplit("::").next().unwrap() {
                    "Provider" => provider = true,
                    "Random" | "Clock" | "Dial" => {}
                    name => {
                        held.insert(name);
                    }
                }
            }
        }
        assert_eq!(held, drawn, "{room}");
        assert_eq!(provider, rest.last().unwrap() == "yes", "{room}");
    }
}

#[test]
fn a_table_is_written_in_the_file_that_the_map_says() {
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in production() {
        let Some(name) = file.name.strip_prefix("crates/recado/src/store/sqlite/") else {
            continue;
        };
        // The test build's engine writes every table by itself.
        if name.starts_with("through") {
            continue;
        }
        let name = name.trim_end_matches(".rs");
        let words: Vec<&str> = words(&file.text).collect();
        for (place, word) in words.iter().enumerate() {
            let at = |step: usize| words.get(place + step).copied().unwrap_or_default();
            let table = match *word {
                "INTO" => at(1),
                "UPDATE" if at(2) == "SET" => at(1),
                "DELETE" if at(1) == "FROM" => at(2),
                _ => continue,
            };
            let tables = written.entry(name.to_owned()).or_default();
            tables.insert(table.to_owned());
        }
    }
    let drawn: BTreeMap<String, BTreeSet<String>> = drawing("\nfile       tables\n")
        .iter()
        .filter_map(|line| {
            let (file, tables) = line.split_first()?;
            let tables = tables
                .iter()
                .map(|table| table.trim_matches(',').to_owned());
            Some((file.clone(), tables.collect()))
        })
        .collect();
    assert_eq!(written, drawn);
    let all: Vec<&String> = drawn.values().flatten().collect();
    let different: BTreeSet<&String> = all.iter().copied().collect();
    assert_eq!(all.len(), different.len(), "a table is written in one file");
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for file in production() {
        let Some(from) = room(&file.name).and_then(|room| Some((layer(&room)?, room))) else {
            continue;
        };
        for (place, _) in file.text.match_indices("crate::") {
            let rest = &file.text[place + "crate::".len()..];
            let to: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            let Some(to_layer) = layer(&to) else { continue };
            let neighbor = NEIGHBORS.contains(&(from.1.as_str(), to.as_str()));
            if to != from.1 && to_layer >= from.0 && !neighbor {
                wrong.push(format!("{} imports crate::{to}", file.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports go one way only (see ARCHITECTURE.md):\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_rules_and_the_simulator_know_nothing_of_the_program() {
    for file in production() {
        let foreign: &[&str] = if file.name.starts_with("crates/delivery") {
            &[
                "recado::",
                "simulator::",
                "tokio",
                "serde",
                "std::fs",
                "std::net",
                "std::env",
            ]
        } else if file.name.starts_with("crates/simulator") {
            &["recado::", "delivery::"]
        } else {
            &[]
        };
        for word in foreign {
            assert!(!file.text.contains(word), "{} mentions {word}", file.name);
        }
    }
}

/// What stands in some folders only, and what the others use.
struct Ban {
    words: &'static [&'static str],
    homes: &'static [&'static str],
    instead: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        words: &["SystemTime::now"],
        homes: &["crates/recado/src/effects.rs", "crates/simulator/"],
        instead: "effects.clock",
    },
    Ban {
        words: &["std::env::var"],
        homes: &["crates/recado/src/config/"],
        instead: "config",
    },
    Ban {
        words: &["println!", "eprintln!"],
        homes: &[],
        instead: "cli::print",
    },
    Ban {
        words: &["rand::"],
        homes: &["crates/recado/src/effects.rs", "crates/simulator/"],
        instead: "effects.random",
    },
    Ban {
        words: &[
            "SELECT ",
            "INSERT INTO ",
            "INSERT OR ",
            "UPDATE ",
            "DELETE FROM ",
            "PRAGMA ",
            "rusqlite",
        ],
        homes: &["crates/recado/src/store/sqlite/"],
        instead: "a verb of the store",
    },
    Ban {
        words: &[
            "\"whatsapp:",
            "whatsapp:+",
            "whatsapp:{",
            "TwiML",
            "\"rc=",
            "&rc=",
            "#rc=",
            "StatusCallback",
            "MessagingServiceSid",
            "AccountSid",
            "X-Twilio",
            "Messages.json",
        ],
        homes: &[
            "crates/recado/src/provider/twilio/",
            "crates/recado/src/callbacks/",
            "crates/simulator/",
        ],
        instead: "the types of provider and callbacks: the rest knows no words of Twilio",
    },
];

/// Uses elsewhere, each with its reason. The list may only shrink.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "crates/delivery/src/address/channel.rs",
        "\"whatsapp:",
        "people copy addresses from Twilio's console",
    ),
    (
        "crates/recado/src/cli/address.rs",
        "whatsapp:+",
        "an example of such an address",
    ),
];

#[test]
fn what_has_a_home_stays_there() {
    let (mut wrong, mut excepted) = (Vec::new(), Vec::new());
    for file in production() {
        for ban in BANS {
            if ban.homes.iter().any(|home| file.name.starts_with(home)) {
                continue;
            }
            for word in ban.words {
                let used = file
                    .text
                    .lines()
                    .any(|line| !line.trim_start().starts_with("//") && line.contains(word));
                let exception = EXCEPTIONS
                    .iter()
                    .find(|(name, banned, _)| file.name == *name && banned == word);
                if used && exception.is_none() {
                    let Ban { instead, .. } = ban;
                    wrong.push(format!("{} uses {word}; use {instead}", file.name));
                }
                excepted.extend(exception.filter(|_| used));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unused = EXCEPTIONS.iter().find(|one| !excepted.contains(one));
    assert_eq!(unused, None, "this exception is needed no more");
}
