//! The C++ layer, with and without exceptions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/cc.rs"]
mod cc;

use cc::Link;

fn run(flags: &[&str]) {
    let Some(cxx) = cc::cxx() else { return };
    let source = cc::tests().join("c/owning.cpp");
    let flags: Vec<&str> = ["-std=c++17"].into_iter().chain(flags.iter().copied()).collect();
    let program = cc::compile(&cxx, &source, &flags, Link::Static);
    cc::run(&program, &[]);
    std::fs::remove_file(program).unwrap();
}

#[test]
fn everything_is_owned_once() {
    run(&[]);
}

#[test]
fn nothing_needs_exceptions_or_type_information() {
    run(&["-fno-exceptions", "-fno-rtti", "-DPOINTSMAN_TEST_PLAIN"]);
}
