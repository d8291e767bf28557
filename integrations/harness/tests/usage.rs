//! The C reader of usage, which nginx's and HAProxy's modules have, held to the answers that the Rust reader is held to.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    answer: String,
    usage: [Option<u32>; 3],
}

#[test]
fn every_answer_is_read_however_the_bytes_are_cut() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
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
    let text = std::fs::read_to_string(root.join("tests/data/usage.json")).unwrap();
    let vectors: Vec<Vector> = serde_json::from_str(&text).unwrap();
    assert!(vectors.len() > 10);
    for Vector { name, answer, usage } in vectors {
        let expected = usage.map(|count| count.map_or(-1, i64::from));
        for piece in [1, 3, 64, 65536] {
            let mut child = Command::new(&program)
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
