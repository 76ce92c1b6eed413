//! The help of every command, so that a change of it is seen.

use super::{ended, err, out};
use crate::gateway::run;

const COMMANDS: [&[&str]; 18] = [
    &[],
    &["serve"],
    &["demo"],
    &["simulate"],
    &["send"],
    &["messages"],
    &["messages", "list"],
    &["messages", "show"],
    &["messages", "cancel"],
    &["messages", "retry"],
    &["messages", "watch"],
    &["resume"],
    &["address"],
    &["keys"],
    &["keys", "create"],
    &["keys", "list"],
    &["keys", "revoke"],
    &["verify"],
];

/// What the help says, however wide the terminal is: spaces and line breaks count as one space.
fn help(command: &[&str], columns: &str) -> String {
    let arguments = [command, &["--help"]].concat();
    let output = run(&arguments, &[("COLUMNS", columns)]);
    ended(&output, 0);
    assert_eq!(err(&output), "", "help goes to stdout");
    out(&output)
}

#[test]
fn every_command_explains_itself() {
    let mut all = String::new();
    for command in COMMANDS {
        let text = help(command, "100");
        let line = [&["recado"], command, &["--help"]].concat().join(" ");
        all.push_str(&format!("$ {line}\n{text}\n"));
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&text), words(&help(command, "60")));
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= 100, "{command:?} has a line of {longest}");
        if command.len() == 1 {
            let examples = text
                .split_once("\nExamples:\n")
                .unwrap_or_else(|| panic!("{text}"))
                .1;
            assert!(examples.lines().count() >= 2, "{command:?}");
            for example in examples.lines() {
                assert!(example.contains("recado "), "{example}");
            }
        }
    }
    let trimmed: Vec<&str> = all.lines().map(str::trim_end).collect();
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("help", trimmed.join("\n"));
    });
}

#[test]
fn every_command_that_gives_data_knows_json() {
    for command in COMMANDS.iter().skip(1) {
        if matches!(command, ["messages" | "keys"]) {
            continue;
        }
        assert!(help(command, "100").contains("--json"), "{command:?}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_so_on_stderr() {
    for arguments in [
        &[][..],
        &["fly"],
        &["serve", "--port"],
        &["serve", "--json"],
        &["send"],
        &["send", "--to", "85988887777", "--csv", "x.csv"],
        &["send", "--to", "85988887777", "--dry-run"],
        &["send", "--csv", "x.csv", "--var", "1=a"],
        &["send", "--to", "85988887777", "--wait", "soon"],
        &["messages"],
        &["messages", "show"],
        &["messages", "list", "--error", "abc"],
        &["keys", "create", "--name", "x"],
        &["keys", "create", "--name", "x", "--scope", "root"],
        &["keys", "revoke"],
        &["resume"],
        &["resume", "--after-move", "--after-restore"],
        &["address"],
        &["address", "--context", "sea", "1"],
        &["simulate", "--listen", "here"],
        &["simulate", "--account-sid", "AC1"],
        &["simulate", "--time-scale", "0"],
        &["demo", "--seed", "x"],
    ] {
        let output = run(arguments, &[]);
        ended(&output, 2);
        assert_eq!(out(&output), "", "{arguments:?}");
        assert!(err(&output).len() > 20, "{arguments:?}");
    }
    let version = run(&["--version"], &[]);
    ended(&version, 0);
    assert_eq!(
        out(&version),
        format!("recado {}\n", env!("CARGO_PKG_VERSION"))
    );
}
