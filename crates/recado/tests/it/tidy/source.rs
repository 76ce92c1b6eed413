//! The sources as the checks read them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// One file.
pub(crate) struct Source {
    /// Its path from the root of the repository.
    pub(crate) name: String,
    /// All of it; without the tests at its end when it is production code.
    pub(crate) text: String,
    /// The same without comments and without what stands in quotes; every line stays where it was.
    pub(crate) code: String,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The files below a folder with one of these endings, by path. What a build leaves is not looked at.
pub(crate) fn files_below(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if file != "target" && !file.starts_with('.') {
                found.extend(files_below(&path, endings));
            }
        } else if endings.iter().any(|ending| file.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every file of code that is not a test.
pub(crate) fn production() -> &'static [Source] {
    static FILES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let mut files = rust("src", |name| !is_test(name));
        for file in &mut files {
            let tests = "#[cfg(test)]\nmod tests {";
            if let Some(end) = file.text.find(tests) {
                file.text.truncate(end);
                file.code = without_comments_and_strings(&file.text);
            }
        }
        files
    });
    assert!(FILES.len() > 40, "the sources were found");
    &FILES
}

/// Every file of tests.
pub(crate) fn tests() -> Vec<Source> {
    let mut files = rust("src", is_test);
    files.extend(rust("tests", |_| true));
    assert!(files.len() > 40, "the tests were found");
    files
}

fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

fn rust(folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<Source> {
    let mut files = Vec::new();
    for krate in ["delivery", "simulator", "recado"] {
        for path in files_below(&root().join("crates").join(krate).join(folder), &[".rs"]) {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            if wanted(&name) {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = without_comments_and_strings(&text);
                files.push(Source { name, text, code });
            }
        }
    }
    files
}

/// The words of a text: letters, digits and underscores.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_word(c))
        .filter(|word| !word.is_empty())
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Replaces comments and the insides of strings by spaces.
pub(crate) fn without_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_hidden(&chars, at);
        if end > at {
            code.extend(
                chars[at..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        } else {
            code.push(chars[at]);
            at += 1;
        }
    }
    code
}

/// Every string of a code with what stands behind it.
pub(crate) fn strings(text: &str) -> Vec<(String, String)> {
    let chars: Vec<char> = text.chars().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        let end = end_of_hidden(&chars, at);
        if chars[at] == '"' {
            let string = chars[at + 1..end - 1].iter().collect();
            found.push((string, chars[end..].iter().take(200).collect()));
        }
        at = end.max(at + 1);
    }
    found
}

/// Where the comment, the string or the character that starts at `at` ends; `at` when none does.
fn end_of_hidden(chars: &[char], at: usize) -> usize {
    let next = |n: usize| chars.get(at + n).copied().unwrap_or('\n');
    let after_word = at > 0 && is_word(chars[at - 1]);
    match chars[at] {
        '/' if next(1) == '/' => find(chars, at, |rest| rest[0] == '\n'),
        '/' if next(1) == '*' => find(chars, at + 2, |rest| rest.starts_with(&['*', '/'])) + 2,
        '"' => end_of_string(chars, at + 1, '"'),
        '\'' if next(1) == '\\' || next(2) == '\'' => end_of_string(chars, at + 1, '\''),
        'b' if next(1) == '"' && !after_word => end_of_string(chars, at + 2, '"'),
        'r' | 'b' if !after_word => end_of_raw_string(chars, at).unwrap_or(at),
        _ => at,
    }
}

fn find(chars: &[char], from: usize, stop: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len())
        .find(|at| stop(&chars[*at..]))
        .unwrap_or(chars.len())
}

fn end_of_string(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn end_of_raw_string(chars: &[char], at: usize) -> Option<usize> {
    let start = at + usize::from(chars[at] == 'b');
    let hashes = chars
        .get(start + 1..)?
        .iter()
        .take_while(|c| **c == '#')
        .count();
    if chars.get(start) != Some(&'r') || chars.get(start + 1 + hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    Some(find(chars, start + 2 + hashes, |rest| rest.starts_with(&close)) + close.len())
}

#[test]
fn comments_and_strings_are_hidden_and_lines_stay() {
    let check = |text: &str, code: &str| assert_eq!(without_comments_and_strings(text), code);
    check("a // b\nc", "a     \nc");
    check("a /* b\n */ c", "a     \n    c");
    check("f(\"x\\\"y\", 'z', 'a)", "f(      ,    , 'a)");
    check("r#\"a\"b\"# c br\"d\" var\"f\"", "         c       var   ");
    check("\"http://x\" y", "           y");
}
