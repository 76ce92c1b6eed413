//! What is public is used by the program. The compiler cannot say so of a library: it counts every
//! public name as used.

use std::collections::{BTreeMap, BTreeSet};

use super::cycles::imports_and_body;
use super::source::{Source, production, words};

/// Names that the program itself does not use, each with its reason. The list may only shrink.
const FOR_OTHERS: &[(&str, &str)] = &[
    (
        "Reason::ALL",
        "documents and tests are compared with the whole list",
    ),
    ("FAULTS", "in the build for tests only"),
];

#[test]
fn every_public_name_is_used_by_the_program() {
    let unused = unused(production());
    let wrong: Vec<&String> = unused
        .iter()
        .filter(|(name, _)| FOR_OTHERS.iter().all(|(known, _)| known != name))
        .map(|(_, line)| line)
        .collect();
    assert!(
        wrong.is_empty(),
        "nothing but tests uses these:\n{}",
        wrong
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    );
    let used = FOR_OTHERS
        .iter()
        .find(|(known, _)| !unused.contains_key(*known));
    assert_eq!(used, None, "this exception is needed no more");
}

/// A public name and where it is defined.
struct Public {
    name: String,
    /// The type whose function or constant it is, and whether the function takes `self`.
    owner: Option<(String, bool)>,
    file: String,
    line: String,
}

/// Every name that a code says: alone, after a dot, and after the type or module before it.
#[derive(Default)]
struct Uses {
    alone: BTreeSet<String>,
    of_values: BTreeSet<String>,
    of_owners: BTreeSet<(String, String)>,
    /// `Self::name`, with the file that says so.
    of_self: BTreeSet<(String, String)>,
}

impl Public {
    fn is_used(&self, uses: &Uses) -> bool {
        let Self { name, owner, .. } = self;
        let Some((owner, takes_self)) = owner else {
            return uses.alone.contains(name);
        };
        let with = |owner: &str| uses.of_owners.contains(&(owner.to_owned(), name.clone()));
        let by_type = with(owner) || uses.of_self.contains(&(self.file.clone(), name.clone()));
        by_type || (*takes_self && uses.of_values.contains(name))
    }
}

impl Uses {
    fn add(&mut self, file: &str, body: &str) {
        for line in body.lines().filter(|line| !line.starts_with("impl")) {
            let defined = public_name(line);
            let mut from = 0;
            for word in words(line) {
                let at = from + line[from..].find(word).unwrap();
                from = at + word.len();
                if let Some(before) = line[..at].strip_suffix("::") {
                    let owner = words(before).last().unwrap_or_default().to_owned();
                    if owner == "Self" {
                        self.of_self.insert((file.to_owned(), word.to_owned()));
                    }
                    self.of_owners.insert((owner, word.to_owned()));
                } else if line[..at].ends_with('.') {
                    self.of_values.insert(word.to_owned());
                }
                if defined != Some(word) {
                    self.alone.insert(word.to_owned());
                }
            }
        }
    }
}

/// The public names that stand nowhere but in their definition, in imports and at the head of an
/// implementation.
fn unused(files: &[Source]) -> BTreeMap<String, String> {
    let (mut defined, mut uses) = (Vec::new(), Uses::default());
    for file in files {
        let (_, body) = imports_and_body(&file.code);
        uses.add(&file.name, &body);
        // The simulator serves tests; what of it they do not use, nobody needs to know here.
        if !file.name.starts_with("crates/simulator/") {
            defined.extend(definitions(&file.name, &body));
        }
    }
    assert!(
        files.len() < 10 || defined.len() > 200,
        "the names were found"
    );
    defined.retain(|public| !public.is_used(&uses));
    let named = |public: Public| {
        let Public {
            name,
            owner,
            file,
            line,
        } = public;
        let name = match owner {
            Some((owner, _)) => format!("{owner}::{name}"),
            None => name,
        };
        (name, format!("{file}: {line}"))
    };
    defined.into_iter().map(named).collect()
}

fn definitions(file: &str, body: &str) -> Vec<Public> {
    let mut found = Vec::new();
    let mut owner = None;
    for (at, line) in body.lines().enumerate() {
        if line.starts_with("impl") && !line.ends_with('}') {
            let of = line.split(" for ").last().unwrap_or_default();
            let of = of
                .trim_start_matches("impl")
                .split(['<', '{'])
                .find(|of| !of.trim().is_empty());
            owner = of.and_then(|of| words(of).last()).map(str::to_owned);
        } else if line.starts_with('}') {
            owner = None;
        }
        let Some(name) = public_name(line) else {
            continue;
        };
        let head: Vec<&str> = body.lines().skip(at).take(2).collect();
        let head = head.concat();
        let takes_self = words(head.split_once('(').map_or("", |(_, rest)| rest))
            .find(|word| *word != "mut")
            == Some("self");
        found.push(Public {
            name: name.to_owned(),
            owner: owner.clone().map(|owner| (owner, takes_self)),
            file: file.to_owned(),
            line: line.trim().to_owned(),
        });
    }
    found
}

fn public_name(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub ")?;
    let kinds = [
        "const fn ",
        "async fn ",
        "fn ",
        "struct ",
        "enum ",
        "const ",
        "trait ",
        "type ",
        "static ",
    ];
    let name = kinds.iter().find_map(|kind| rest.strip_prefix(kind))?;
    words(name).next()
}

#[test]
fn a_name_that_only_its_own_lines_say_is_unused() {
    let source = |code: &str| Source {
        name: "crates/recado/src/a.rs".to_owned(),
        text: String::new(),
        code: code.to_owned(),
    };
    let check = |code: &str, expected: &[&str]| {
        let found: Vec<String> = unused(&[source(code)]).into_keys().collect();
        assert_eq!(found, expected, "{code}");
    };
    check("pub fn a() {}\nuse x::a;\n", &["a"]);
    check("pub struct A;\nimpl A {\n}\npub use b::A;\n", &["A"]);
    check("pub const fn a() {}\nfn b() {\n    a();\n}\n", &[]);
    // A function of a type is used through that type, or through its values.
    let parse = "impl A {\n    pub fn parse(x: u8) {}\n}\n";
    check(parse, &["A::parse"]);
    check(
        &format!("{parse}fn b() {{\n    B::parse(c.parse());\n}}\n"),
        &["A::parse"],
    );
    check(&format!("{parse}fn b() {{\n    A::parse(1);\n}}\n"), &[]);
    let get = "impl X for A {\n    pub fn get(\n        &self) {}\n}\n";
    check(get, &["A::get"]);
    check(&format!("{get}fn b() {{\n    c.get();\n}}\n"), &[]);
}
