//! What the pages name is there: links, paths, and what commands run.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that a path in a page may begin with.
const FOLDERS: [&str; 10] = [
    "src",
    "tests",
    "docs",
    "examples",
    "benches",
    "ffi",
    "include",
    "integrations",
    "fuzz",
    ".ci",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown page, but what builds have left.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                pages(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// Calls `check` with each page and its text, and expects no complaint.
fn each_page(check: impl Fn(&Path, &str) -> Vec<String>) {
    let mut found = Vec::new();
    pages(root(), &mut found);
    assert!(found.len() >= 15, "only {found:?}");
    let complaints: Vec<_> = found
        .iter()
        .flat_map(|page| {
            let text = fs::read_to_string(page).unwrap();
            let name = page.strip_prefix(root()).unwrap().display().to_string();
            check(page, &text).into_iter().map(move |what| format!("{name}: {what}"))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What stands between these two, wherever they do.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close).map(|(inner, _)| inner))
}

#[test]
fn every_link_leads_somewhere() {
    each_page(|page, text| {
        let links = between(text, "](", ')').filter(|link| !link.contains("://"));
        let files = links.map(|link| link.split('#').next().unwrap());
        let lost = files.filter(|file| !page.parent().unwrap().join(file).exists());
        lost.map(str::to_owned).collect()
    });
}

/// The prose of a page: what is not in a fenced block.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let keep = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    };
    text.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

/// Paths from the root, or from the page's own folder. One with `your_` is an example of the reader's.
#[test]
fn every_path_exists() {
    each_page(|page, text| {
        let prose = prose(text);
        let spans = prose.split('`').skip(1).step_by(2);
        let words = spans.flat_map(str::split_whitespace);
        let is_path = |word: &&str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
            let folder = word.split_once('/').map(|(folder, _)| folder);
            word.chars().all(plain)
                && folder.is_some_and(|folder| FOLDERS.contains(&folder))
                && !word.contains("your_")
        };
        let exists =
            |word: &&str| [root(), page.parent().unwrap()].iter().any(|f| f.join(word).exists());
        words.filter(is_path).filter(|word| !exists(word)).map(str::to_owned).collect()
    });
}

/// Names after an option of a command, in prose and in blocks.
#[test]
fn every_command_names_what_there_is() {
    let check = fs::read_to_string(root().join("check")).unwrap();
    let has = |folder: &str, name: &str| {
        let at = |end: &str| root().join(format!("{folder}/{name}{end}")).exists();
        at(".rs") || at("/main.rs")
    };
    each_page(|_, text| {
        let name = |rest: &'_ str| {
            let word = rest.split(|c: char| !(c.is_ascii_alphanumeric() || "_*".contains(c)));
            word.into_iter().next().unwrap().to_owned()
        };
        let mut lost = Vec::new();
        let kinds = [("--example ", "examples"), ("--bench ", "benches"), ("--test ", "tests")];
        for (option, folder) in kinds {
            let names = text.split(option).skip(1).map(name);
            lost.extend(
                names.filter(|name| !has(folder, name)).map(|name| option.to_owned() + &name),
            );
        }
        for rest in text.split("./check ").skip(1) {
            let command = rest.split(['`', '\n', '#']).next().unwrap();
            let mut names = command.split_whitespace().take_while(|word| word.is_ascii());
            lost.extend(names.by_ref().filter(|name| !is_check(&check, name)).map(str::to_owned));
        }
        lost
    });
}

/// Whether `./check` knows the name, or takes it as an option.
fn is_check(check: &str, name: &str) -> bool {
    let function = check.lines().any(|line| line.starts_with(&format!("{name}() {{")));
    function || ["list", "all", "NAME"].contains(&name) || name.starts_with("--")
}
