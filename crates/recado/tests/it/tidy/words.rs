//! The words of code, comments and documents: the field's own, in American spelling.

use super::source::{files_below, is_word, production, root, words};

/// Names of types that said less than the words of the field.
const NAMES: &[&str] = &[
    "Announcements",
    "Asked",
    "Chance",
    "Character",
    "Coming",
    "Failing",
    "Fate",
    "Gate",
    "House",
    "Ledger",
    "Leg",
    "Life",
    "Luck",
    "Met",
    "Moment",
    "Named",
    "Needed",
    "Parties",
    "Patience",
    "PersonPace",
    "Pressure",
    "SenderPace",
    "Stirred",
    "Storm",
    "Told",
    "Trouble",
    "Unsealable",
    "What",
    "Wish",
    "WishJson",
    "WishResult",
    "World",
];

/// What is not written, and what is. A word with a star stands for all that begin like it.
const PHRASES: &[(&str, &str)] = &[
    ("come back with", "return"),
    ("comes back with", "returns"),
    ("came back with", "returned"),
    ("coming back with", "returning"),
    ("so many bytes", "this many bytes"),
    ("anew", "again"),
    ("night shift*", "maintenance"),
    ("chore*", "task, or maintenance"),
    ("the memory", "the store, or memory"),
    ("the outside", "the provider, or callers"),
    ("the witness*", "the simulator"),
    ("door*", "interface, endpoint or router"),
    ("shall", "must, or will"),
    ("whilst", "while"),
    ("fold the", "checkpoint"),
    ("folds the", "checkpoints"),
    ("fold in", "checkpoint"),
    ("folds in", "checkpoints"),
    ("folded in", "checkpointed"),
    ("folding*", "checkpoint"),
    ("unsealable", "cannot be opened"),
    ("analyse*", "analyze"),
    ("artefact*", "artifact"),
    ("authoris*", "authoriz"),
    ("behaviour*", "behavior"),
    ("cancelled", "canceled"),
    ("cancelling", "canceling"),
    ("centre*", "center"),
    ("colour*", "color"),
    ("defence*", "defense"),
    ("favour*", "favor"),
    ("honour*", "honor"),
    ("initialis*", "initializ"),
    ("dialled", "dialed"),
    ("dialling", "dialing"),
    ("labelled", "labeled"),
    ("learnt", "learned"),
    ("licence*", "license"),
    ("minimis*", "minimiz"),
    ("neighbour*", "neighbor"),
    ("normalis*", "normaliz"),
    ("optimise*", "optimize"),
    ("unoptimised", "unoptimized"),
    ("organis*", "organiz"),
    ("recognis*", "recogniz"),
    ("serialis*", "serializ"),
    ("summaris*", "summariz"),
    ("synchronis*", "synchroniz"),
];

#[test]
fn types_have_the_names_of_the_field() {
    let mut wrong = Vec::new();
    for file in production().iter().chain(&super::source::tests()) {
        for (at, line) in file.code.lines().enumerate() {
            if let Some(name) = defined_type(line).filter(|name| NAMES.contains(name)) {
                wrong.push(format!("{}:{}: {name}", file.name, at + 1));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "the glossary in ARCHITECTURE.md has better names:\n{}",
        wrong.join("\n")
    );
}

fn defined_type(line: &str) -> Option<&str> {
    let mut words = words(line);
    words.find(|word| ["struct", "enum", "trait", "type"].contains(word))?;
    words.next()
}

#[test]
fn texts_use_plain_american_words() {
    let mut wrong = Vec::new();
    for path in files_below(&root(), &[".md", ".rs", ".sql", ".toml"]) {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        // The log tells what was; this file has to name what it forbids.
        if name == "CHANGELOG.md" || name.ends_with("tidy/words.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        wrong.extend(
            banned(&text)
                .into_iter()
                .map(|(line, word, instead)| format!("{name}:{line}: {word}; write {instead}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What of [`PHRASES`] stands in a text, with its line, also where a line ends within it.
fn banned(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let mut flat = String::from(" ");
    let mut starts = Vec::new();
    for line in text.lines() {
        starts.push(flat.len());
        let words = line.trim_start_matches(|c: char| c == ' ' || "/!#>*-|".contains(c));
        flat.push_str(&words.to_lowercase());
        flat.push(' ');
    }
    let mut found = Vec::new();
    for (phrase, instead) in PHRASES {
        let (words, open) = match phrase.strip_suffix('*') {
            Some(words) => (words, true),
            None => (*phrase, false),
        };
        for (at, _) in flat.match_indices(words) {
            let before = flat[..at].chars().next_back();
            let after = flat[at + words.len()..].chars().next();
            // A method of a library has the name that it has.
            let method = before == Some('.');
            let whole = !method
                && !before.is_some_and(is_letter)
                && (open || !after.is_some_and(is_letter));
            if whole {
                let line = starts.partition_point(|start| *start <= at);
                found.push((line, *phrase, *instead));
            }
        }
    }
    found.sort_unstable();
    found
}

fn is_letter(c: char) -> bool {
    is_word(c) || c.is_alphabetic()
}

#[test]
fn a_banned_phrase_is_found_over_the_end_of_a_line_and_in_no_longer_word() {
    let lines = |text: &str| -> Vec<usize> { banned(text).iter().map(|one| one.0).collect() };
    assert_eq!(lines("/// It comes\n/// back with it.\n"), [1]);
    assert_eq!(lines("a\nNormalised\nshall\n"), [2, 3]);
    assert_eq!(lines("marshall outdoors the memory_of\n"), [] as [usize; 0]);
}
