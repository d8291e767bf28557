//! What is deliberately absent from the core, held by reading its sources.

#![allow(clippy::unwrap_used)]

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
    let words = ["static mut", "static ref", "OnceLock", "LazyLock", "lazy_static", "OnceCell"];
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
