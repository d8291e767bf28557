//! The files of this crate have an order: none needs, in a circle, what needs it. And they are short.
//!
//! `cargo test -p pointsman-ffi --test imports -- --nocapture` prints what each one imports.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../tests/support/sources.rs"]
mod sources;

use std::collections::BTreeSet;
use std::path::Path;

fn all() -> Vec<sources::Source> {
    let found = sources::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(found.len() > 20, "only {} source files found", found.len());
    found
}

#[test]
fn no_file_needs_what_needs_it() {
    let imports = sources::imports(&all());
    for (file, found) in &imports {
        println!("{file}: {}", Vec::from_iter(found.iter().cloned()).join(" "));
    }
    assert_eq!(sources::circles(&imports), []);
    let needs = |file: &str, other: &str| imports[file].contains(other);
    assert!(needs("router", "boundary") && needs("builder", "router"), "{imports:#?}");
    assert!(needs("worker", "argument/sized") && needs("metrics", "handle"), "{imports:#?}");
}

#[test]
fn files_and_functions_are_short() {
    assert_eq!(sources::long_files(&all(), 400), BTreeSet::new(), "above 400 lines");
    assert_eq!(sources::long_functions(&all(), 50), BTreeSet::new(), "above 50 lines");
}
