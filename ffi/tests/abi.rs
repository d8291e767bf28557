//! What the binary interface consists of: held against committed lists, and against the sources.
//!
//! `POINTSMAN_BLESS=1 cargo test -p pointsman-ffi --test abi` writes the lists anew. A line that
//! changes or goes breaks programs in the field and takes a new POINTSMAN_ABI_VERSION and SONAME; lines
//! may be added, and structs may grow at their end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/cc.rs"]
mod cc;
#[path = "support/header.rs"]
mod header;
#[path = "../../tests/support/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use cc::Link;
use quote::ToTokens as _;

fn held_against(list: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("abi").join(list);
    if std::env::var_os("POINTSMAN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, actual, "ffi/abi/{list} is not what the library has");
}

fn lines(names: &BTreeSet<String>) -> String {
    names.iter().fold(String::new(), |text, name| text + name + "\n")
}

/// The defined global symbols of a file, as `nm` with these options tells them.
fn symbols(file: &Path, options: &[&str]) -> BTreeSet<String> {
    let output = Command::new("nm").args(options).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_whitespace().last().map(str::to_owned))
        .collect()
}

#[test]
fn the_library_exports_the_headers_functions_and_nothing_else() {
    let declared: BTreeSet<String> = header::functions().into_iter().collect();
    held_against("symbols.txt", &lines(&declared));
    let text = std::fs::read_to_string(cc::root().join("include/pointsman.h")).unwrap();
    for name in &declared {
        assert!(text.contains(&format!("{name}(")), "the header lacks {name}");
    }
    if !cc::works("nm") {
        return cc::not_checked("nm missing");
    }
    let shared = symbols(&cc::library().shared, &["-D", "--defined-only"]);
    assert_eq!(shared, declared, "left: exported by libpointsman.so");
    let archive = symbols(&cc::library().archive, &["-g", "--defined-only"]);
    let ours = archive.into_iter().filter(|name| name.starts_with("pointsman_")).collect();
    assert_eq!(declared, ours, "right: defined by libpointsman.a");
}

/// Every function with every argument 0: those that return a status refuse that, none of them crashes.
#[test]
fn every_function_bears_nothing_but_zeros() {
    let mut program = String::from("#include \"check.h\"\nint main(void) {\n");
    for signature in header::signatures() {
        let zeros = vec!["0"; signature.inputs.len()].join(", ");
        let name = &signature.ident;
        let returns = signature.output.to_token_stream().to_string();
        let _ = if returns.ends_with("pointsman_status") {
            writeln!(program, "CHECK({name}({zeros}) == POINTSMAN_INVALID_ARGUMENT);")
        } else {
            writeln!(program, "(void){name}({zeros});")
        };
    }
    program.push_str("return 0;\n}\n");
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("zeros.c");
    std::fs::write(&source, program).unwrap();
    let program = cc::compile(&cc::cc(), &source, &["-std=c11"], Link::Static);
    cc::run(&program, &[]);
    std::fs::remove_file(program).unwrap();
}

/// What no program tries may break unnoticed.
#[test]
fn the_programs_in_c_try_every_function_and_meet_every_status() {
    let programs = std::fs::read_dir(cc::tests().join("c")).unwrap();
    let sources = programs.map(|entry| entry.unwrap().path());
    let text: String = sources
        .filter(|path| path.extension().is_some_and(|it| it == "c"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let words: BTreeSet<&str> =
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let untried: Vec<String> = header::functions()
        .into_iter()
        .chain(header::statuses())
        .filter(|name| !words.contains(name.as_str()))
        .collect();
    // Only a bug of the library's own gives it; the boundary's tests have one.
    assert_eq!(untried, ["POINTSMAN_INTERNAL"]);
}

/// The rules that `callbacks.c` holds every function to, in every callback.
fn rules_in_callbacks() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(cc::tests().join("c/callbacks.c")).unwrap();
    let rows = text.lines().filter_map(|line| line.trim_start().strip_prefix("X(pointsman_"));
    rows.map(|row| {
        let mut words = row.split(',').map(str::trim);
        (format!("pointsman_{}", words.next().unwrap()), words.next().unwrap().to_owned())
    })
    .collect()
}

#[test]
fn callbacks_may_call_what_the_pages_say() {
    let (rules, header) = (rules_in_callbacks(), header::generate());
    let tried: BTreeSet<String> = rules.keys().cloned().collect();
    assert_eq!(tried, header::functions().into_iter().collect(), "left: tried in callbacks");
    let readme = std::fs::read_to_string(cc::root().join("ffi/README.md")).unwrap();
    let rows = readme.split("| in a callback |").nth(1).unwrap().split("\n\n").next().unwrap();
    for (name, rule) in &rules {
        // A row names a function, or all whose names fit a pattern; the first one counts.
        let row =
            rows.lines().find(|row| row.split('`').skip(1).step_by(2).any(|it| fits(name, it)));
        let said = row.unwrap_or_else(|| panic!("{name} is in no row")).split('|').nth(2).unwrap();
        // The opening's example comes before.
        let declared = header.rfind(&format!("{name}(")).unwrap();
        let comment = &header[header[..declared].rfind("/**").unwrap()..declared];
        let refused = comment.contains("POINTSMAN_IN_CALLBACK")
            || comment.contains("Inside a callback it does nothing")
            || comment.contains("Errors: as ");
        let expected = match rule.as_str() {
            "WORKS" => (true, false, false),
            "CHOOSES" => (true, true, true),
            _ => (false, true, true),
        };
        let in_readme = said.contains("IN_CALLBACK") || said.contains("does nothing");
        assert_eq!((said.contains("works"), in_readme, refused), expected, "{name}: {said}");
    }
}

/// Whether the name is the pattern, in which one star stands for anything.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => name.starts_with(start) && name.ends_with(end),
        None => name == pattern,
    }
}

#[test]
fn structs_have_the_sizes_and_offsets_that_they_had() {
    if size_of::<usize>() != 8 {
        return eprintln!("not checked: the list is for 64-bit machines");
    }
    let mut program =
        String::from("#include <pointsman.h>\n#include <stdio.h>\nint main(void) {\n");
    for (name, fields) in header::structs() {
        let _ = writeln!(program, "printf(\"{name} %zu\\n\", sizeof({name}));");
        for field in fields {
            let _ =
                writeln!(program, "printf(\"{name}.{field} %zu\\n\", offsetof({name}, {field}));");
        }
    }
    program.push_str("return 0;\n}\n");
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layout.c");
    std::fs::write(&source, program).unwrap();
    let program = cc::compile(&cc::cc(), &source, &["-std=c11"], Link::Loaded);
    held_against("structs.txt", &cc::run(&program, &[]));
    std::fs::remove_file(program).unwrap();
}

/// An `extern "C"` function written by hand would let a panic into the caller.
#[test]
fn every_export_is_made_by_the_macro() {
    for source in sources::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let (path, text) = (source.path, source.text);
        let by_hand = text.matches("no_mangle").count();
        let expected = usize::from(path.ends_with("boundary.rs"));
        assert_eq!(by_hand, expected, "{}", path.display());
        // Types of callbacks are the only other mention of `extern "C"`.
        for line in text.lines().filter(|line| line.contains("extern \"C\"")) {
            let is_type = line.contains("extern \"C\" fn(");
            assert!(is_type || path.ends_with("boundary.rs"), "{}: {line}", path.display());
        }
    }
}

#[test]
fn building_without_unwinding_is_refused() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/unwind.rs");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unwind.rmeta");
    let build = |panic: &str| {
        Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "-o"])
            .arg(&out)
            .arg(format!("-Cpanic={panic}"))
            .arg(&source)
            .output()
            .unwrap()
    };
    assert!(build("unwind").status.success());
    let refused = build("abort");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot be built with panic"));
}
