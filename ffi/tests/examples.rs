//! The examples compile without a warning, run, and say what they should.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/cc.rs"]
mod cc;

use std::path::PathBuf;

use cc::Link;

fn example(name: &str) -> PathBuf {
    cc::tests().join("../examples").join(name)
}

fn run(name: &str, standard: &str) -> String {
    let flags = [standard, "-D_DEFAULT_SOURCE", "-D_POSIX_C_SOURCE=200809L"];
    let program = cc::compile(&cc::cc(), &example(name), &flags, Link::Static);
    let printed = cc::run(&program, &[]);
    std::fs::remove_file(program).unwrap();
    printed
}

/// The numbers of a line.
fn numbers(line: &str) -> Vec<u32> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn the_first_program_is_short_and_shares_a_thousand_prompts() {
    let source = std::fs::read_to_string(example("first.c")).unwrap();
    let lines = source.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 25, "{lines} lines");
    let served = numbers(&run("first.c", "-std=c99"));
    assert_eq!(served.iter().sum::<u32>(), 1000);
    // Fifty documents over three workers, each of which keeps its own.
    assert!(served.iter().all(|&count| count > 0 && count % 20 == 0), "{served:?}");
}

#[test]
fn the_readmes_show_the_program_that_is_tested() {
    let source = std::fs::read_to_string(example("first.c")).unwrap();
    let readme = std::fs::read_to_string(cc::tests().join("../README.md")).unwrap();
    assert!(readme.contains(&format!("```c\n{source}```")));
    // The project's own README shows the same one, if it shows one.
    let above = std::fs::read_to_string(cc::root().join("README.md")).unwrap();
    for shown in above.split("```c\n").skip(1) {
        assert_eq!(shown.split("```").next(), Some(source.as_str()));
    }
}

#[test]
fn the_readmes_commands_build_and_run_it() {
    let readme = std::fs::read_to_string(cc::tests().join("../README.md")).unwrap();
    let block = readme.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let above = std::fs::read_to_string(cc::root().join("README.md")).unwrap();
    assert!(above.contains(block), "the project's README has other commands");
    let link = block.lines().find(|line| line.starts_with("cc ")).unwrap();
    // The build itself has been done for the tests, in whatever profile they have.
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("first-by-readme");
    let archive = cc::library().archive.to_string_lossy();
    let line = link
        .replace("target/release/libpointsman.a", &archive)
        .replace("-o first", &format!("-o {}", program.display()));
    assert!(line.contains(&*archive), "{link}");
    let status =
        std::process::Command::new("sh").args(["-c", &line]).current_dir(cc::root()).status();
    assert!(status.unwrap().success(), "{line}");
    assert!(cc::run(&program, &[]).starts_with("served "));
    std::fs::remove_file(program).unwrap();
}

#[test]
fn gateway() {
    let printed = run("gateway.c", "-std=c11");
    assert!(printed.contains(" 0 still in flight"), "{printed}");
    assert_eq!(numbers(&printed)[0] + numbers(&printed)[1], 16_000);
}

#[test]
fn policy() {
    // Three at the cheapest, three at the next, the rest at the dear one.
    assert_eq!(
        run("policy.c", "-std=c99").trim(),
        "cheap cheap cheap middling middling middling dear dear"
    );
}

#[test]
fn pair() {
    let printed = run("pair.c", "-std=c99");
    let rack = |line: &str| {
        line.split("fill-").nth(1).or(line.split("code-").nth(1)).map(|r| r.as_bytes()[0])
    };
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 8);
    for pair in lines.chunks(2) {
        assert_eq!(rack(pair[0]), rack(pair[1]), "{printed}");
    }
}

#[test]
fn fork() {
    let printed = run("fork.c", "-std=c99");
    assert_eq!(printed.lines().count(), 4);
    assert!(printed.lines().all(|line| numbers(line)[1..].iter().sum::<u32>() == 300));
}

#[test]
fn gateway_in_cxx() {
    let Some(cxx) = cc::cxx() else { return };
    let program = cc::compile(&cxx, &example("gateway.cpp"), &["-std=c++17"], Link::Static);
    assert!(cc::run(&program, &[]).ends_with(" 0 in flight\n"));
    std::fs::remove_file(program).unwrap();
}
