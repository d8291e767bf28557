//! What is deliberately absent from the core, held by reading its sources.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What models for the checker are compiled under.
const MODELS: &str = "#[cfg(all(test, pointsman_loom))]";

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The core's code without comments: all of `src/` but the adapter, which is a feature.
fn code() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.retain(|path| !path.components().any(|part| part.as_os_str() == "adapter"));
    // Models for the checker, compiled for it alone; they need threads.
    found.retain(|path| path.file_name().is_none_or(|name| name != "loom.rs"));
    assert!(found.len() > 40, "only {} source files found", found.len());
    let strip = |text: String| {
        // The same at the end of a file.
        let models = ["tests {", "loom_tests {"].map(|name| format!("{MODELS}\nmod {name}"));
        let end = models.iter().find_map(|models| text.find(models)).unwrap_or(text.len());
        text[..end]
            .lines()
            .map(|line| line.split("//").next().unwrap_or(""))
            .collect::<Vec<_>>()
            .join("\n")
    };
    found.into_iter().map(|path| (path.clone(), strip(fs::read_to_string(path).unwrap()))).collect()
}

fn offenders(words: &[&str]) -> Vec<String> {
    let hit = |text: &str| words.iter().find(|word| text.contains(**word)).map(|w| (*w).to_owned());
    code()
        .iter()
        .filter_map(|(path, text)| hit(text).map(|word| format!("{}: {word}", path.display())))
        .collect()
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
    let statics: Vec<String> = code()
        .iter()
        .flat_map(|(_, text)| text.lines().map(str::trim).map(str::to_owned).collect::<Vec<_>>())
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

/// What each file of a folder of `src/` imports: its neighbours by their names, the folder's own
/// `mod.rs` as `mod`, and other modules of the crate as `crate::name`.
fn imports(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let files: Vec<_> = code()
        .into_iter()
        .filter(|(path, _)| path.parent() == Some(&here) && !path.ends_with("tests.rs"))
        .map(|(path, text)| (path.file_stem().unwrap().to_str().unwrap().to_owned(), text))
        .collect();
    let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    let import = |text: &str, of: &str| -> BTreeSet<String> {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let after = text.split(of).skip(1);
        after
            .map(|rest| {
                rest.chars()
                    .take_while(|c| c.is_lowercase() || c.is_ascii_digit() || *c == '_')
                    .collect()
            })
            .collect()
    };
    let mut graph = BTreeMap::new();
    for (name, text) in files {
        let neighbours = import(&text, "super::").into_iter();
        let known = |found: String| if names.contains(&found) { found } else { "mod".to_owned() };
        let mut found: BTreeSet<String> = neighbours.map(known).collect();
        if name == "mod" {
            found.extend(names.iter().filter(|name| *name != "mod").cloned());
        }
        let others = import(&text, "crate::").into_iter();
        found.extend(others.map(|other| format!("crate::{other}")));
        graph.insert(name, found);
    }
    graph
}

/// Takes away the files that import no other one, until none is left but those in a circle.
fn circles(mut graph: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    loop {
        let leaves =
            graph.iter().filter(|(_, found)| found.iter().all(|to| !graph.contains_key(to)));
        let leaves: Vec<_> = leaves.map(|(name, _)| name.clone()).collect();
        if leaves.is_empty() {
            return graph.into_keys().collect();
        }
        graph.retain(|name, _| !leaves.contains(name));
    }
}

#[test]
fn json_knows_nothing_of_bodies_and_bodies_nothing_of_routing() {
    for (folder, least, allowed) in
        [("json", 10, &[][..]), ("body", 10, &["crate::range", "crate::json", "crate::prefix"])]
    {
        let graph = imports(folder);
        assert!(graph.len() >= least, "only {} files found in {folder}", graph.len());
        for (file, found) in &graph {
            let others = found.iter().filter(|to| to.starts_with("crate::"));
            let forbidden: Vec<_> = others.filter(|to| !allowed.contains(&to.as_str())).collect();
            assert!(forbidden.is_empty(), "{folder}/{file}.rs imports {forbidden:?}");
        }
        assert_eq!(circles(graph), Vec::<String>::new(), "files of {folder} import each other");
    }
}
