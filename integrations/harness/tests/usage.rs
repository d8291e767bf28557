//! The readers of usage in C, which nginx's and HAProxy's modules have, and in Lua, held to the answers that the Rust
//! reader is held to.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    answer: String,
    usage: [Option<u32>; 3],
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Gives each answer to the reader, which takes the size of pieces as its last argument, and prints what it
/// found.
fn read_all(reader: impl Fn() -> Command, pieces: &[usize]) {
    let text = std::fs::read_to_string(root().join("tests/data/usage.json")).unwrap();
    let vectors: Vec<Vector> = serde_json::from_str(&text).unwrap();
    assert!(vectors.len() > 10);
    for Vector { name, answer, usage } in vectors {
        let expected = usage.map(|count| count.map_or(-1, i64::from));
        for piece in pieces {
            let mut child = reader()
                .arg(piece.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{name}");
            let printed = String::from_utf8(output.stdout).unwrap();
            let told: Vec<i64> =
                printed.split_whitespace().map(|count| count.parse().unwrap()).collect();
            assert_eq!(told, expected, "{name}, {piece} bytes at a time");
        }
    }
}

#[test]
fn in_c_every_answer_is_read_however_the_bytes_are_cut() {
    let root = root();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("usage");
    let compiled = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".to_owned()))
        .args(["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/usage.c"))
        .args([Path::new("-I"), &root.join("integrations"), Path::new("-I"), &root.join("include")])
        .arg("-o")
        .arg(&program)
        .status();
    assert!(compiled.unwrap().success());
    read_all(|| Command::new(&program), &[1, 3, 64, 65536]);
}

#[test]
fn in_lua_every_answer_is_read_however_the_bytes_are_cut() {
    if Command::new("luajit").arg("-v").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "luajit is missing");
        eprintln!("not checked: luajit missing");
        return;
    }
    let script = root().join("integrations/openresty/tests/usage.lua");
    let reader = || {
        let mut command = Command::new("luajit");
        command.arg(&script);
        command
    };
    read_all(reader, &[1, 3, 64, 65536]);
}
