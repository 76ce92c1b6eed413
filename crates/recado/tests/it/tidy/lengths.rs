//! How long files and functions are.

use super::source::{production, tests};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
/// A test may tell a longer story.
const TEST_FUNCTION_LINES_MAX: usize = 100;

/// Files and functions that are longer. The lists may only shrink.
const LONG_FILES: &[&str] = &[];
const LONG_FUNCTIONS: &[&str] = &[];

#[test]
fn functions_and_files_stay_short() {
    let (mut functions, mut files) = (Vec::new(), Vec::new());
    for file in production() {
        if file.text.lines().count() > FILE_LINES_MAX {
            files.push(file.name.clone());
        }
        functions.extend(long_functions(&file.name, &file.text, FUNCTION_LINES_MAX));
    }
    for file in tests() {
        if file.text.lines().count() > FILE_LINES_MAX {
            files.push(file.name.clone());
        }
        let long = long_functions(&file.name, &file.text, TEST_FUNCTION_LINES_MAX);
        functions.extend(long);
    }
    assert_eq!(files, LONG_FILES, "files over {FILE_LINES_MAX} lines");
    assert_eq!(
        functions, LONG_FUNCTIONS,
        "functions over {FUNCTION_LINES_MAX} lines, or {TEST_FUNCTION_LINES_MAX} in tests"
    );
}

/// A function starts at a line with `fn` and ends at the closing brace of the same indentation,
/// which the formatter guarantees.
fn long_functions(file: &str, text: &str, lines_max: usize) -> Vec<String> {
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
        if length > lines_max {
            found.push(format!("{file}: {words} ({length} lines)"));
        }
    }
    found
}
