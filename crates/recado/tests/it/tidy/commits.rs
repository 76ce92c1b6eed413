//! Subjects of commits stay short enough to be read in a list.

use std::process::Command;

use super::source::root;

/// Commits before this one are as they are.
const SINCE: &str = "884e6e5";

const SUBJECT_CHARS_MAX: usize = 72;

#[test]
fn subjects_of_commits_are_short() {
    let range = format!("{SINCE}..HEAD");
    let log = Command::new("git")
        .args(["log", "--no-merges", "--format=%h %s", &range])
        .current_dir(root())
        .output();
    // Without git, or without the history, there is nothing to look at.
    let Some(log) = log.ok().filter(|log| log.status.success()) else {
        return;
    };
    let log = String::from_utf8(log.stdout).unwrap();
    let long: Vec<&str> = log
        .lines()
        .filter(|line| {
            let subject = line.split_once(' ').map_or("", |(_, subject)| subject);
            subject.chars().count() > SUBJECT_CHARS_MAX
        })
        .collect();
    assert!(
        long.is_empty(),
        "subjects over {SUBJECT_CHARS_MAX} characters:\n{}",
        long.join("\n")
    );
}
