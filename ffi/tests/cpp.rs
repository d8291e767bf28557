//! The C++ layer, with and without exceptions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/cc.rs"]
mod cc;

use std::path::Path;

use cc::Link;

fn run(source: &str, flags: &[&str]) {
    let Some(cxx) = cc::cxx() else { return };
    let source = cc::tests().join("c").join(source);
    let flags: Vec<&str> = ["-std=c++17"].into_iter().chain(flags.iter().copied()).collect();
    let program = cc::compile(&cxx, &source, &flags, Link::Static);
    cc::run(&program, &[]);
    std::fs::remove_file(program).unwrap();
}

#[test]
fn everything_is_owned_once() {
    run("owning.cpp", &[]);
}

#[test]
fn owners_may_die_in_their_callbacks_and_be_moved_away() {
    run("departing.cpp", &[]);
}

#[test]
fn nothing_needs_exceptions_or_type_information() {
    let plain = ["-fno-exceptions", "-fno-rtti", "-DPOINTSMAN_TEST_PLAIN"];
    run("owning.cpp", &plain);
    run("departing.cpp", &plain);
}

/// A number that C names has a name in C++, too.
#[test]
fn every_enumeration_is_whole() {
    let read = |name| std::fs::read_to_string(cc::root().join("include").join(name)).unwrap();
    let (c, cxx) = (read("pointsman.h"), read("pointsman.hpp"));
    let words: Vec<&str> = cxx.split(|ch: char| !ch.is_ascii_alphanumeric() && ch != '_').collect();
    for kind in ["ROLE", "HEALTH", "STATE", "OUTCOME", "REASON", "LOG"] {
        let prefix = format!("#define POINTSMAN_{kind}_");
        let names = c.lines().filter(|line| line.starts_with(&prefix));
        let names: Vec<&str> = names.filter_map(|line| line.split(' ').nth(1)).collect();
        assert!(names.len() >= 3, "{kind}: {names:?}");
        for name in names {
            assert!(words.contains(&name), "{name} is not in pointsman.hpp");
        }
    }
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
