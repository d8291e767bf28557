//! The header: generated, committed, and fit for every C and C++ that may include it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/cc.rs"]
mod cc;
#[path = "support/header.rs"]
mod header;

use std::path::Path;

use cc::Link;

/// `POINTSMAN_BLESS=1 cargo test -p pointsman-ffi --test header` writes the header anew.
#[test]
fn the_committed_header_is_the_generated_one() {
    let path = cc::root().join("include/pointsman.h");
    let generated = header::generate();
    if std::env::var_os("POINTSMAN_BLESS").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/pointsman.h is not what the sources say; run \
         POINTSMAN_BLESS=1 cargo test -p pointsman-ffi --test header"
    );
}

/// Whatever a host warns itself of, it must not see it in these headers.
const STRICT: [&str; 4] = ["-Wconversion", "-Wsign-conversion", "-Wundef", "-Wcast-qual"];
const STRICT_C: [&str; 3] = ["-Wstrict-prototypes", "-Wmissing-prototypes", "-Wc++-compat"];
const STRICT_CXX: [&str; 3] = ["-Wold-style-cast", "-Wnon-virtual-dtor", "-Woverloaded-virtual"];

fn compiles(compiler: &str, language: &str, standard: &str, source: &Path) {
    let own = if language == "c" { STRICT_C } else { STRICT_CXX };
    let flags = [&["-x", language, standard][..], &STRICT, &own].concat();
    let object = cc::compile(compiler, source, &flags, Link::Nothing);
    std::fs::remove_file(object).unwrap();
}

#[test]
fn it_compiles_alone_as_every_c_under_every_compiler_at_hand() {
    let source = cc::tests().join("c/alone.c");
    let default = cc::cc();
    let compilers = [default.as_str(), "gcc", "clang"];
    for compiler in compilers.iter().filter(|compiler| cc::works(compiler)) {
        for standard in ["-std=c99", "-std=c11", "-std=c17"] {
            compiles(compiler, "c", standard, &source);
        }
    }
}

#[test]
fn both_headers_compile_alone_as_cxx_under_every_compiler_at_hand() {
    let Some(default) = cc::cxx() else { return };
    let plain = cc::tests().join("c/alone.c");
    let owning = cc::root().join("include/pointsman.hpp");
    let compilers = [default.as_str(), "g++", "clang++"];
    for compiler in compilers.iter().filter(|compiler| cc::works(compiler)) {
        for standard in ["-std=c++17", "-std=c++20"] {
            compiles(compiler, "c++", standard, &plain);
            compiles(compiler, "c++", standard, &owning);
        }
    }
}

/// What a reader of the header relies on, told by the header's own text.
#[test]
fn every_struct_begins_with_its_size_and_has_plain_fields() {
    for (name, fields) in header::structs() {
        assert_eq!(fields.first().map(String::as_str), Some("size"), "{name}");
    }
    let text = header::generate();
    for word in [" bool ", " enum ", " long ", " unsigned ", " short "] {
        let in_comment = |line: &str| line.trim_start().starts_with(['*', '/']);
        let line = text.lines().filter(|line| !in_comment(line)).find(|line| line.contains(word));
        assert_eq!(line, None, "{word:?} has no fixed width");
    }
}

#[test]
fn it_names_every_policy_that_there_is() {
    let unknown = pointsman_core::PolicyConfig::named("unknown");
    let Err(error) = pointsman_core::policy::PolicyFactory::create(&unknown) else {
        panic!("known")
    };
    let message = error.to_string();
    let known = message.split("known are ").nth(1).unwrap().split(';').next().unwrap();
    let text = header::generate();
    let comment = text.split("* Switches the policy of every role").nth(1).unwrap();
    let comment = comment.split("pointsman_router_set_policy").next().unwrap();
    assert!(known.split(", ").count() >= 6, "{known}");
    for name in known.split(", ") {
        assert!(comment.contains(&format!("\"{name}\"")), "{name}: {comment}");
    }
}
