//! What the sources of a crate say of themselves: which file imports which, and how long they are.
//!
//! An import is any path that begins with `crate`, `self`, `super` or a module of the file's own, in a
//! `use` or in the code. What a `mod.rs` re-exports is followed to the file that has it; so a `mod.rs`
//! imports its own files only where its code uses them. Macros of modules under `#[macro_use]` count
//! where they are called. Comments, tests and models for the checker do not count.

#![allow(dead_code, reason = "each program reads a part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files by their modules' names, and those that each one imports.
pub type Imports = BTreeMap<String, BTreeSet<String>>;

pub struct Source {
    /// Its module, as `router/select`; `lib` is the crate's root.
    pub name: String,
    pub path: PathBuf,
    pub text: String,
    /// The text without comments and tests.
    pub code: String,
}

/// Every source file under this folder but tests and models for the checker, in order.
pub fn all(src: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(src, &mut paths);
    paths.sort();
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(src).unwrap().with_extension("");
        let name = name.to_str().unwrap();
        let name = name.strip_suffix("/mod").unwrap_or(name).to_owned();
        Source { name, code: code(&text), path, text }
    };
    paths.into_iter().map(source).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if !["tests.rs", "loom.rs"].iter().any(|tests| path.ends_with(tests)) {
            found.push(path);
        }
    }
}

fn code(text: &str) -> String {
    let starts =
        ["#[cfg(test)]", "#[cfg(all(test, pointsman_loom))]"].into_iter().flat_map(|attribute| {
            ["tests", "loom_tests"].map(|name| format!("{attribute}\nmod {name} {{"))
        });
    let end = starts.filter_map(|start| text.find(&start)).min().unwrap_or(text.len());
    text[..end]
        .lines()
        .map(|line| line.split("//").next().unwrap_or("").to_owned() + "\n")
        .collect()
}

/// Which file imports which.
pub fn imports(sources: &[Source]) -> Imports {
    let modules: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let children = |of: &str| -> Vec<&str> {
        let inside = if of == "lib" { String::new() } else { format!("{of}/") };
        let child =
            |name: &&str| name.strip_prefix(inside.as_str()).is_some_and(|n| !n.contains('/'));
        let names = modules.iter().copied().filter(child);
        names.map(|name| &name[inside.len()..]).filter(|name| *name != "lib").collect()
    };
    let mut paths = BTreeMap::new();
    for source in sources {
        paths.insert(source.name.as_str(), paths_in(source, &children(&source.name)));
    }
    let exports = |of: &str| paths[of].iter().filter(|path| path.exported);
    let resolver = Resolver { modules: &modules, exports: &exports };
    let macros = macros(sources);
    let mut imports = Imports::new();
    for source in sources {
        let is_own = |path: &&Named| path.exported && is_inside(&path.absolute, &source.name);
        let named = paths[source.name.as_str()].iter().filter(|path| !is_own(path));
        let mut found: BTreeSet<String> =
            named.map(|path| resolver.file(&path.absolute, 0)).collect();
        let called = |(call, _): &&(String, String)| source.code.contains(call.as_str());
        found.extend(macros.iter().filter(called).map(|(_, file)| file.clone()));
        found.remove(&source.name);
        imports.insert(source.name.clone(), found);
    }
    imports.remove("lib");
    imports
}

/// A path that a file names.
struct Named {
    /// From the crate's root on.
    absolute: Vec<String>,
    /// Another name that it gets.
    renamed: Option<String>,
    /// Whether it is in a `pub use`.
    exported: bool,
}

fn is_inside(path: &[String], module: &str) -> bool {
    module == "lib" || path.len() > 1 && path.join("/").starts_with(&format!("{module}/"))
}

/// Every path in this file that begins in this crate.
fn paths_in(source: &Source, children: &[&str]) -> Vec<Named> {
    let code = source.code.as_str();
    let here: Vec<&str> = source.name.split('/').filter(|part| *part != "lib").collect();
    let (mut found, mut end) = (Vec::new(), 0);
    for (at, _) in code.match_indices("::") {
        let start = code[..at].rfind(|c: char| !is_word(c)).map_or(0, |before| before + 1);
        let first = &code[start..at];
        let is_rest = start < end || code[..start].ends_with("::");
        if is_rest || !is_start(first) && !children.contains(&first) {
            continue;
        }
        let statement = code[..start].rsplit(['\n', ';']).next().unwrap_or("").trim();
        if statement.ends_with("use") {
            end = code[start..].find(';').map_or(code.len(), |length| start + length);
        }
        let exported = statement.starts_with("pub") && statement.ends_with("use");
        for (path, renamed) in tree(&code[start..]) {
            let mut absolute = here.clone();
            let mut rest = path.as_slice();
            while let Some((first, after)) = rest.split_first().filter(|(word, _)| is_start(word)) {
                match *first {
                    "crate" => absolute.clear(),
                    "super" => drop(absolute.pop()),
                    _ => {}
                }
                rest = after;
            }
            absolute.extend(rest.iter().filter(|word| **word != "self"));
            let absolute = absolute.into_iter().map(str::to_owned).collect();
            found.push(Named { absolute, renamed: renamed.map(str::to_owned), exported });
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_start(word: &str) -> bool {
    ["crate", "self", "super"].contains(&word)
}

/// The paths that `a::{b, c::d as e}` stands for, and the other names that they get.
fn tree(text: &str) -> Vec<(Vec<&str>, Option<&str>)> {
    let mut path = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let word = rest.find(|c| !is_word(c) && c != '*').unwrap_or(rest.len());
        if word > 0 {
            path.push(&rest[..word]);
        }
        let after = &rest[word..];
        let Some(next) = after.strip_prefix("::") else {
            let renamed = after
                .strip_prefix(" as ")
                .map(|name| name.split(|c| !is_word(c)).next().unwrap_or(""));
            return vec![(path, renamed)];
        };
        if next.starts_with('{') {
            let parts = split_braces(next).into_iter().flat_map(tree);
            return parts
                .map(|(part, renamed)| (path.iter().copied().chain(part).collect(), renamed))
                .collect();
        }
        rest = next;
    }
}

/// What stands between commas in the braces that the text begins with.
fn split_braces(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 1, Vec::new());
    for (at, c) in text.char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 || (depth == 1 && c == ',') {
            parts.push(text[start..at].trim());
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

struct Resolver<'a, E> {
    modules: &'a BTreeSet<&'a str>,
    /// The `pub use` of a module.
    exports: &'a E,
}

impl<'a, E, I> Resolver<'a, E>
where
    E: Fn(&str) -> I,
    I: Iterator<Item = &'a Named>,
{
    /// The file that has what this path names.
    fn file(&self, path: &[String], depth: usize) -> String {
        assert!(depth < 20, "{path:?} leads nowhere");
        let is_module = |length: &usize| self.modules.contains(path[..*length].join("/").as_str());
        let length = (1..=path.len()).rev().find(is_module).unwrap_or(0);
        let module = if length == 0 { "lib".to_owned() } else { path[..length].join("/") };
        let Some(item) = path.get(length).filter(|item| *item != "*") else { return module };
        let name = |export: &&Named| {
            let last = export.absolute.last().map(String::as_str);
            export.renamed.as_deref().or(last) == Some(item)
        };
        let all = |export: &&Named| export.absolute.last().is_some_and(|last| last == "*");
        if let Some(export) = (self.exports)(&module).find(name) {
            return self.file(&[&export.absolute[..], &path[length + 1..]].concat(), depth + 1);
        }
        if let Some(export) = (self.exports)(&module).find(all) {
            let folder = &export.absolute[..export.absolute.len() - 1];
            return self.file(&[folder, &path[length..]].concat(), depth + 1);
        }
        module
    }
}

/// The macros of modules under `#[macro_use]`, as they are called, and the files that have them.
fn macros(sources: &[Source]) -> Vec<(String, String)> {
    let is_used = |source: &&Source| {
        let declared = format!("#[macro_use]\nmod {};", source.name.rsplit('/').next().unwrap());
        sources.iter().any(|other| other.code.contains(&declared))
    };
    let mut macros = Vec::new();
    for source in sources.iter().filter(is_used) {
        for rest in source.code.split("macro_rules! ").skip(1) {
            let name = rest.split(|c| !is_word(c)).next().unwrap();
            macros.push((format!("{name}!"), source.name.clone()));
        }
    }
    macros
}

/// The files that import each other in a circle, whether straight or through others.
pub fn circles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|from| (from, reached(imports, from))).collect();
    let circle = |from: &&String| -> BTreeSet<String> {
        let back = |to: &&&String| reached.get(**to).is_some_and(|reached| reached.contains(*from));
        reached[*from].iter().filter(back).map(|to| (*to).clone()).collect()
    };
    let mut circles: Vec<_> = imports.keys().map(|from| circle(&from)).collect();
    circles.retain(|circle| !circle.is_empty());
    circles.sort();
    circles.dedup();
    circles
}

fn reached<'a>(imports: &'a Imports, from: &String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&String> = imports[from].iter().collect();
    while let Some(next) = left.pop() {
        if reached.insert(next) {
            left.extend(imports.get(next).into_iter().flatten());
        }
    }
    reached
}

/// The files of more lines than this.
pub fn long_files(sources: &[Source], lines: usize) -> BTreeSet<String> {
    let long = sources.iter().filter(|source| source.text.lines().count() > lines);
    long.map(|source| source.name.clone()).collect()
}

/// The functions of more lines than this, as the formatter indents them.
pub fn long_functions(sources: &[Source], lines: usize) -> BTreeSet<String> {
    let mut long = BTreeSet::new();
    for source in sources {
        let text: Vec<&str> = source.text.lines().collect();
        for (number, line) in text.iter().enumerate() {
            let Some(name) = function(line) else { continue };
            let indent = &line[..line.len() - line.trim_start().len()];
            let is_end = |line: &str| line.strip_prefix(indent).is_some_and(|rest| rest == "}");
            let length = text[number..].iter().position(|line| is_end(line)).unwrap_or(0) + 1;
            let declared = text[number..].iter().find(|line| line.ends_with([';', '{', '}']));
            if length > lines && declared.is_some_and(|line| line.ends_with('{')) {
                long.insert(format!("{}: {name}, {length} lines", source.name));
            }
        }
    }
    long
}

/// The name of the function that this line begins.
fn function(line: &str) -> Option<&str> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let is_qualifier = |word: &str| {
        word.starts_with("pub") || ["const", "async", "unsafe", "extern", "\"C\""].contains(&word)
    };
    let name = after.split(|c| !is_word(c)).next().filter(|name| !name.is_empty())?;
    before.split_whitespace().all(is_qualifier).then_some(name)
}
