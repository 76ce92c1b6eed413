//! No two files of a folder need each other, directly or by way of others. A folder in the folder
//! counts as one, with all that is in it, and `mod.rs` counts as a file: it may declare and hand on
//! what stands beside it, but what the others need stands in a file of its own.
//!
//! Seen are imports and paths. A call of a method is not seen: whoever spreads the methods of one
//! type over several files can build a circle that no import shows.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, is_word, production, words};

/// A module: the crate and the names after it, joined by `::`.
type Path = String;

struct Module {
    file: String,
    /// The code without its imports.
    body: String,
    imports: Vec<Import>,
    defined: BTreeSet<String>,
}

/// One name that a file brings in; the last word is `*` for all of them.
pub(crate) struct Import {
    path: Vec<String>,
    /// The name it has here.
    name: String,
    public: bool,
}

struct Program(BTreeMap<Path, Module>);

impl Program {
    fn new(files: &[Source]) -> Self {
        Self(files.iter().filter_map(module).collect())
    }

    fn has_children(&self, path: &str) -> bool {
        self.0.keys().any(|other| is_below(other, path))
    }

    /// The module in which the item stands that `path` names in `from`. None is another crate's.
    fn resolve(&self, from: &str, path: &[String]) -> Option<Path> {
        let (folder, item) = self.walk(from, path)?;
        let item = item.and_then(|name| self.find(&folder, &name, &mut BTreeSet::new()));
        Some(item.unwrap_or(folder))
    }

    /// The module to which a path leads, and the name that it then asks for.
    fn walk(&self, from: &str, path: &[String]) -> Option<(Path, Option<String>)> {
        let mut at = match path.first()?.as_str() {
            "crate" => from.split("::").next()?.to_owned(),
            "self" => from.to_owned(),
            "super" => parent(from)?,
            child => self.child(from, child)?,
        };
        for word in &path[1..] {
            if word == "super" {
                at = parent(&at)?;
            } else if let Some(child) = self.child(&at, word) {
                at = child;
            } else {
                return Some((at, Some(word.clone())));
            }
        }
        Some((at, None))
    }

    fn child(&self, path: &str, name: &str) -> Option<Path> {
        let child = format!("{path}::{name}");
        self.0.contains_key(&child).then_some(child)
    }

    /// The module that defines a name which can be said in `module`.
    fn find(&self, module: &str, name: &str, seen: &mut BTreeSet<Path>) -> Option<Path> {
        let here = self.0.get(module)?;
        if here.defined.contains(name) {
            return Some(module.to_owned());
        }
        if !seen.insert(module.to_owned()) {
            return None;
        }
        here.imports.iter().find_map(|import| {
            if import.name != name && import.name != "*" {
                return None;
            }
            let (folder, wanted) = self.walk(module, &import.path)?;
            match wanted.as_deref() {
                None => Some(folder),
                Some("*") => self.find(&folder, name, seen),
                Some(wanted) => self.find(&folder, wanted, seen),
            }
        })
    }

    /// What a module needs, with the first name that shows it.
    fn needs(&self, path: &str) -> BTreeMap<Path, String> {
        let module = &self.0[path];
        let parent_of_others = self.has_children(path);
        let mut needs = BTreeMap::new();
        let mut need = |to: Option<Path>, why: &str| {
            if let Some(to) = to.filter(|to| to != path) {
                needs.entry(to).or_insert_with(|| why.to_owned());
            }
        };
        for import in &module.imports {
            let hands_on = import.public && parent_of_others;
            if hands_on || import.name == "*" {
                // Only what the file itself then uses.
                for word in words(&module.body) {
                    let wanted = import.name == word || import.name == "*";
                    if wanted && !module.defined.contains(word) {
                        let module = &import.path[..import.path.len() - 1];
                        let to = self
                            .resolve(path, module)
                            .and_then(|to| self.find(&to, word, &mut BTreeSet::new()));
                        need(to, word);
                    }
                }
            } else {
                need(self.resolve(path, &import.path), &import.name);
            }
        }
        for words in paths(&module.body) {
            need(self.resolve(path, &words), &words.join("::"));
        }
        needs
    }
}

fn module(source: &Source) -> Option<(Path, Module)> {
    let inside = source.name.strip_prefix("crates/")?.strip_suffix(".rs")?;
    let (krate, inside) = inside.split_once("/src/")?;
    let mut names = vec![krate];
    names.extend(inside.split('/'));
    if names.last() == Some(&"main") {
        return None;
    }
    if matches!(names.last(), Some(&"mod" | &"lib")) {
        names.pop();
    }
    let (imports, body) = imports_and_body(&source.code);
    let module = Module {
        file: source.name.clone(),
        defined: defined(&body),
        body,
        imports,
    };
    Some((names.join("::"), module))
}

fn parent(path: &str) -> Option<Path> {
    path.rsplit_once("::").map(|(parent, _)| parent.to_owned())
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with("::"))
}

/// Names that stand at the margin after the word that defines them, and those in a list of
/// `stored!`.
fn defined(body: &str) -> BTreeSet<String> {
    let keywords = [
        "fn",
        "struct",
        "enum",
        "trait",
        "type",
        "const",
        "static",
        "macro_rules",
    ];
    let mut names = BTreeSet::new();
    for line in body.lines() {
        let mut line_words = words(line).skip_while(|word| !keywords.contains(word));
        if !line.starts_with(' ') {
            names.extend(
                line_words
                    .find(|word| !keywords.contains(word))
                    .map(str::to_owned),
            );
        } else if let Some(name) = line.trim().strip_suffix(" {")
            && name.starts_with(char::is_uppercase)
            && name.chars().all(is_word)
        {
            names.insert(name.to_owned());
        }
    }
    names
}

/// Takes the imports out of the code.
pub(crate) fn imports_and_body(code: &str) -> (Vec<Import>, String) {
    let (mut imports, mut body) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let words = line.trim_start();
        let Some((before, rest)) = words.split_once("use ").filter(|(before, _)| {
            before.is_empty() || (before.starts_with("pub") && before.ends_with(' '))
        }) else {
            body.push_str(line);
            body.push('\n');
            continue;
        };
        let mut tree = rest.to_owned();
        while !tree.trim_end().ends_with(';') {
            tree.push_str(lines.next().expect("an import ends"));
        }
        let mut paths = Vec::new();
        leaves(&[], tree.trim_end().trim_end_matches(';'), &mut paths);
        imports.extend(paths.into_iter().map(|(path, name)| Import {
            path,
            name,
            public: !before.is_empty(),
        }));
    }
    (imports, body)
}

/// The single names of an import with braces.
fn leaves(before: &[String], tree: &str, found: &mut Vec<(Vec<String>, String)>) {
    let tree = tree.trim();
    if let Some((first, rest)) = tree
        .split_once("::")
        .filter(|(first, _)| !first.contains('{'))
    {
        let mut path = before.to_vec();
        path.push(first.trim().to_owned());
        leaves(&path, rest, found);
    } else if let Some(list) = tree.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        let mut depth = 0;
        let items = list.split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0 && c == ','
        });
        for item in items.filter(|item| !item.trim().is_empty()) {
            leaves(before, item, found);
        }
    } else {
        let (item, name) = tree.split_once(" as ").unwrap_or((tree, tree));
        let mut path = before.to_vec();
        let name = if item == "self" {
            before.last().cloned().unwrap_or_default()
        } else {
            path.push(item.to_owned());
            name.to_owned()
        };
        found.push((path, name));
    }
}

/// Every `a::b` of the code.
fn paths(body: &str) -> Vec<Vec<String>> {
    body.split(|c: char| !is_word(c) && c != ':')
        .filter(|path| path.contains("::") && !path.starts_with(':'))
        .map(|path| {
            path.split("::")
                .take_while(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

/// The circles among what stands directly in one folder, each with the needs that close it.
fn circles(program: &Program, folder: &str, needs: &[(Path, Path, String)]) -> Vec<String> {
    let node = |path: &str| -> Option<String> {
        if path == folder {
            return Some("mod".to_owned());
        }
        let inside = path.strip_prefix(folder)?.strip_prefix("::")?;
        inside.split("::").next().map(str::to_owned)
    };
    let mut edges: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (from, to, why) in needs {
        if let (Some(a), Some(b)) = (node(from), node(to))
            && a != b
        {
            let (from, to) = (&program.0[from].file, &program.0[to].file);
            let line = format!("  {from} needs {why} of {to}");
            edges.entry((a, b)).or_default().push(line);
        }
    }
    let reachable: BTreeMap<&String, BTreeSet<&String>> = edges
        .keys()
        .map(|(a, _)| {
            let mut seen = BTreeSet::new();
            let mut next = vec![a];
            while let Some(at) = next.pop() {
                for (_, to) in edges.keys().filter(|(from, _)| from == at) {
                    if seen.insert(to) {
                        next.push(to);
                    }
                }
            }
            (a, seen)
        })
        .collect();
    let mut lines = BTreeSet::new();
    for ((a, b), found) in &edges {
        if reachable.get(b).is_some_and(|seen| seen.contains(a)) {
            lines.extend(found.iter().cloned());
        }
    }
    lines.into_iter().collect()
}

fn all_circles(files: &[Source]) -> Vec<String> {
    let program = Program::new(files);
    let needs: Vec<(Path, Path, String)> = program
        .0
        .keys()
        .flat_map(|from| {
            let needs = program.needs(from).into_iter();
            needs.map(|(to, why)| (from.clone(), to, why))
        })
        .collect();
    assert!(
        files.len() < 10 || needs.len() > 200,
        "the imports were found"
    );
    let folders = program.0.keys().filter(|path| program.has_children(path));
    folders
        .flat_map(|folder| circles(&program, folder, &needs))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

#[test]
fn files_of_a_folder_never_need_each_other() {
    let wrong = all_circles(production());
    assert!(
        wrong.is_empty(),
        "these needs form circles; move what both sides need to a file of its own:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_circle_is_seen_however_it_is_written() {
    let check = |files: &[(&str, &str)], seen: bool| {
        let files: Vec<Source> = files
            .iter()
            .map(|(name, code)| Source {
                name: format!("crates/recado/src/{name}.rs"),
                text: String::new(),
                code: (*code).to_owned(),
            })
            .collect();
        let found = all_circles(&files);
        assert_eq!(!found.is_empty(), seen, "{found:?}");
    };
    let lib = ("lib", "mod a;\nmod b;\n");
    let uses_a = ("b", "use super::a::{self, A};\npub struct B;\n");
    check(&[lib, ("a", "use crate::b::B;\n"), uses_a], true);
    check(
        &[lib, ("a", "fn a() {\n    super::b::b()\n}\n"), uses_a],
        true,
    );
    check(&[lib, ("a", "pub struct A;\n"), uses_a], false);
    // By way of a third, and of a folder.
    let third = ("c/mod", "mod d;\npub use d::*;\n");
    let inside = ("c/d", "use crate::b::B;\npub struct D;\n");
    check(
        &[lib, ("a", "use crate::c::D;\n"), uses_a, third, inside],
        true,
    );
    check(
        &[lib, ("a", "pub struct A;\n"), uses_a, third, inside],
        false,
    );
    // A parent that hands on needs nothing; one that uses what it hands on does.
    let back = ("a", "use super::X;\npub struct A;\n");
    check(
        &[("lib", "mod a;\npub use a::A;\npub struct X;\n"), back],
        false,
    );
    check(
        &[("lib", "mod a;\npub use a::A;\npub struct X(A);\n"), back],
        true,
    );
    check(
        &[("lib", "mod a;\npub use a::*;\npub struct X(A);\n"), back],
        true,
    );
}
