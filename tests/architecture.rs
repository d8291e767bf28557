//! What is deliberately absent, held by reading the sources: from the core, what it must not have; from
//! the layers, imports that go upward or round; from the files, length.
//!
//! `cargo test --test architecture -- --nocapture` prints which file imports which.

#![allow(clippy::unwrap_used)]

#[path = "support/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sources::{Imports, Source, circles, long_files, long_functions};

/// All of `src/`.
fn all() -> Vec<Source> {
    let found = sources::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(found.len() > 100, "only {} source files found", found.len());
    found
}

/// The core's code: all but the adapter, which is a feature.
fn core() -> Vec<Source> {
    all().into_iter().filter(|source| layer(&source.name) != "adapter").collect()
}

/// The module of the crate's root that a module belongs to.
fn layer(module: &str) -> &str {
    module.split('/').next().unwrap_or(module)
}

fn offenders(words: &[&str]) -> Vec<String> {
    let hit = |code: &str| words.iter().find(|word| code.contains(**word));
    let offence = |source: Source| hit(&source.code).map(|word| format!("{}: {word}", source.name));
    core().into_iter().filter_map(offence).collect()
}

#[test]
fn the_core_has_no_async_thread_timer_or_socket() {
    let words = [
        "async fn",
        ".await",
        "thread::spawn",
        "thread::Builder",
        "thread::sleep",
        "std::net",
        "tokio",
    ];
    assert_eq!(offenders(&words), Vec::<String>::new());
}

#[test]
fn the_core_has_no_global_mutable_state() {
    let words = ["static mut", "static ref", "LazyLock", "lazy_static", "OnceCell"];
    assert_eq!(offenders(&words), Vec::<String>::new());
    let statics: Vec<String> = core()
        .iter()
        .flat_map(|source| source.code.lines().map(|line| line.trim().to_owned()))
        .filter(|line| line.starts_with("static ") || line.starts_with("pub static "))
        .collect();
    // The byte whose address tells threads apart is never written.
    assert_eq!(statics, ["static MARK: u8 = const { 0 };"]);
}

#[test]
fn the_core_never_recognises_a_policy_by_name_or_type() {
    let words = ["as_any", "downcast", "name() ==", ".name().eq"];
    assert_eq!(offenders(&words), Vec::<String>::new());
}

fn imports() -> Imports {
    sources::imports(&all())
}

/// The rows of the layers' table in ARCHITECTURE.md: the modules of `src/` that each one names.
fn rows() -> Vec<BTreeSet<String>> {
    let page = include_str!("../ARCHITECTURE.md");
    let section = page.split("\n## Layers\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let name = |rest: &str| rest.split(['/', '.', '`']).next().unwrap().to_owned();
    let row = |line: &str| line.split("`src/").skip(1).map(name).collect();
    let rows = section.lines().filter(|line| line.starts_with("| ") && line.contains("`src/"));
    rows.map(row).collect()
}

#[test]
fn each_layer_knows_only_those_above_it() {
    let imports = imports();
    let mut place = BTreeMap::new();
    for (number, row) in rows().into_iter().enumerate() {
        for layer in row {
            assert_eq!(place.insert(layer.clone(), number), None, "{layer} is in two rows");
        }
    }
    let layers: BTreeSet<&str> = imports.keys().map(|module| layer(module)).collect();
    let told: BTreeSet<&str> = place.keys().map(String::as_str).collect();
    assert_eq!(layers, told, "what lies in src/, and the table of layers in ARCHITECTURE.md");
    let mut upward = Vec::new();
    for (from, found) in &imports {
        println!("{from}: {}", Vec::from_iter(found.iter().cloned()).join(" "));
        let is_upward = |to: &&String| place.get(layer(to)) > place.get(layer(from));
        upward.extend(found.iter().filter(is_upward).map(|to| format!("{from} imports {to}")));
    }
    assert_eq!(upward, Vec::<String>::new());
}

#[test]
fn json_knows_nothing_of_bodies_and_bodies_nothing_of_routing() {
    let imports = imports();
    for (of, allowed) in [("json", &["json"][..]), ("body", &["body", "range", "json", "prefix"])] {
        let files = || imports.iter().filter(|(from, _)| layer(from) == of);
        assert!(files().count() >= 10, "only {} files found in {of}", files().count());
        let is_known = |to: &&String| allowed.contains(&layer(to));
        let others: Vec<_> =
            files().flat_map(|(_, found)| found).filter(|to| !is_known(to)).collect();
        assert!(others.is_empty(), "{of} imports {others:?}");
    }
}

#[test]
fn no_file_imports_in_a_circle_what_imports_it() {
    assert_eq!(circles(&imports()), []);
}

#[test]
fn files_and_functions_are_short() {
    assert_eq!(long_files(&all(), 400), BTreeSet::new(), "above 400 lines");
    assert_eq!(long_functions(&all(), 50), BTreeSet::new(), "above 50 lines");
}

/// What a file of this text names; there are modules `a`, `a/b`, `a/c` and `d`.
fn named(text: &str) -> Vec<String> {
    let source = |name: &str, code: &str| Source {
        name: name.to_owned(),
        path: name.into(),
        text: code.to_owned(),
        code: code.to_owned(),
    };
    let a = "pub use b::{self, Bee as Buzz};\npub use self::c::*;\n";
    let b = source("a/b", text);
    let others = [source("lib", ""), source("a", a), source("a/c", ""), source("d", "")];
    let imports = sources::imports(&Vec::from_iter(others.into_iter().chain([b])));
    assert!(imports["a"].is_empty(), "re-exporting what is its own is no import");
    imports["a/b"].iter().cloned().collect()
}

#[test]
fn imports_are_seen() {
    assert_eq!(named("use crate::d::Dee;"), ["d"]);
    assert_eq!(
        named("use std::fmt;\nuse crate::{\n    a::{Buzz, Cee},\n    d::Dee,\n};\n"),
        ["a/c", "d"]
    );
    assert_eq!(named("fn f() { super::c::g(crate::d::h()) }"), ["a/c", "d"]);
    assert_eq!(named("use super::Cee;\nuse other::d::Dee;"), ["a/c"]);
    assert_eq!(named("let x = Type::new();"), [""; 0]);
}

#[test]
fn circles_and_long_functions_are_seen() {
    let edge = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let mut graph = Imports::from([edge("a", "b"), edge("b", "c"), edge("x", "a")]);
    graph.entry("c".to_owned()).or_default();
    assert_eq!(circles(&graph), []);
    graph.extend([edge("c", "a")]);
    assert_eq!(circles(&graph), [["a", "b", "c"].map(str::to_owned).into()]);
    let long = "    pub(crate) fn long(\n        a: u8,\n    ) {\n        a;\n    }\n";
    let text = &format!("impl A {{\n{long}\n    fn one() {{}}\n}}\n");
    let source = |text: &str| Source {
        name: "a".to_owned(),
        path: "a".into(),
        text: text.to_owned(),
        code: String::new(),
    };
    assert_eq!(long_functions(&[source(text)], 4), ["a: long, 5 lines".to_owned()].into());
    assert_eq!(long_functions(&[source(text)], 5), BTreeSet::new());
    assert_eq!(long_files(&[source(text)], 8), ["a".to_owned()].into());
}
