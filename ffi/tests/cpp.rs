//! The C++ layer, with and without exceptions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/cc.rs"]
mod cc;

use std::path::Path;

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

#[test]
fn the_header_s_own_example_compiles() {
    let Some(cxx) = cc::cxx() else { return };
    let header = std::fs::read_to_string(cc::root().join("include/pointsman.hpp")).unwrap();
    let opening = header.split(" */").next().unwrap().lines();
    let opening = opening.filter_map(|line| line.strip_prefix(" *"));
    let example: Vec<&str> = opening.filter_map(|line| line.strip_prefix("     ")).collect();
    assert!(example.len() >= 10, "{example:?}");
    let program = format!(
        "#include <pointsman.hpp>\n\
         static void log(const std::string &) {{}}\n\
         static void send(std::string_view, pointsman::worker_id) {{}}\n\
         static void route(std::string_view body) {{\n{}\n}}\n\
         int main() {{ route(R\"({{\"prompt\": \"Hello\"}})\"); }}\n",
        example.join("\n")
    );
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("header_example.cpp");
    std::fs::write(&source, program).unwrap();
    let program = cc::compile(&cxx, &source, &["-std=c++17"], Link::Static);
    cc::run(&program, &[]);
    std::fs::remove_file(program).unwrap();
}
