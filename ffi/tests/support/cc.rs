//! Builds the library, and compiles and runs C and C++ programs against it.

#![allow(dead_code, reason = "each test uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How a program gets the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Static,
    Shared,
    /// The program loads it by itself.
    Loaded,
    /// Compile only: there is no program.
    Nothing,
}

/// Where the library was built.
pub struct Library {
    pub archive: PathBuf,
    pub shared: PathBuf,
}

/// What the archive needs from the system, as in the installed pkg-config file.
pub const SYSTEM_LIBS: [&str; 4] = ["-lpthread", "-ldl", "-lm", "-lgcc_s"];

/// The strictness that the header and every program here stand.
pub const WARNINGS: [&str; 5] = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Builds the library in the profile of the tests; cargo does not build it otherwise, as Rust cannot
/// link it. POINTSMAN_LIBRARY names a directory with a library that was built before instead.
pub fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| match std::env::var_os("POINTSMAN_LIBRARY") {
        Some(directory) => {
            let directory = PathBuf::from(directory);
            Library {
                archive: directory.join("libpointsman.a"),
                shared: directory.join("libpointsman.so"),
            }
        }
        None => build(),
    })
}

fn build() -> Library {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--package", "pointsman-ffi", "--message-format", "json"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.current_dir(root()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the library does not build:\n{told}");
    let messages = String::from_utf8(output.stdout).unwrap();
    let files: Vec<PathBuf> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| message["target"]["crate_types"][0] == "staticlib")
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .collect();
    let find = |name: &str| {
        let file = files.iter().find(|file| file.file_name().is_some_and(|it| it == name));
        file.unwrap_or_else(|| panic!("cargo has not made {name}")).clone()
    };
    Library { archive: find("libpointsman.a"), shared: find("libpointsman.so") }
}

/// The compiler of C, as the environment names it.
pub fn cc() -> String {
    std::env::var("CC").unwrap_or_else(|_| "cc".to_owned())
}

/// The compiler of C++ if there is one. Without it the test that asks says so and passes, except in
/// continuous integration.
pub fn cxx() -> Option<String> {
    let name = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if works(&name) {
        return Some(name);
    }
    not_checked(&format!("{name} missing"));
    None
}

pub fn works(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Something could not be checked on this machine.
pub fn not_checked(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "not checked: {why}");
    eprintln!("not checked: {why}");
}

/// Compiles one source file into a program.
pub fn compile(compiler: &str, source: &Path, arguments: &[&str], link: Link) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = source.file_stem().unwrap().to_string_lossy();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "{name}-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Relaxed)
    ));
    let mut command = Command::new(compiler);
    command.args(arguments).args(WARNINGS).args(["-g", "-O1", "-pthread", "-I"]);
    command.arg(root().join("include")).arg("-I").arg(tests().join("c"));
    command.arg(source).arg("-o").arg(&program);
    match link {
        Link::Static => command.arg(&library().archive).args(SYSTEM_LIBS),
        Link::Shared => {
            // The program looks for the SONAME, which the installed package has as a link.
            let directory = soname_directory();
            let rpath = format!("-Wl,-rpath,{}", directory.display());
            command.arg(&library().shared).arg(rpath)
        }
        Link::Loaded => command.arg("-ldl"),
        Link::Nothing => command.arg("-c"),
    };
    if let Some(flags) = std::env::var_os("POINTSMAN_CFLAGS") {
        command.args(flags.to_string_lossy().split_whitespace());
    }
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} does not compile:\n{told}", source.display());
    program
}

/// A directory in which the library lies under its SONAME.
pub fn soname_directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soname");
    std::fs::create_dir_all(&directory).unwrap();
    let link = directory.join(format!("libpointsman.so.0.{}", std::process::id()));
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&library().shared, &link).unwrap();
    std::fs::rename(&link, directory.join("libpointsman.so.0")).unwrap();
    directory
}

/// Runs a program and returns what it printed. POINTSMAN_RUNNER, such as valgrind with its options,
/// runs it instead of the system.
pub fn run(program: &Path, arguments: &[&str]) -> String {
    let mut command = match std::env::var("POINTSMAN_RUNNER") {
        Ok(runner) if !runner.is_empty() => {
            let mut words = runner.split_whitespace();
            let mut command = Command::new(words.next().unwrap());
            command.args(words).arg(program);
            command
        }
        _ => Command::new(program),
    };
    let output = command.args(arguments).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} ended with {}\n{printed}{told}",
        program.display(),
        output.status
    );
    printed
}

/// A program of `tests/c`, to be compiled as C11 and run. It gets the shared library's path as its
/// first argument.
pub struct Program<'a> {
    name: &'a str,
    link: Link,
    flags: &'a [&'a str],
    arguments: &'a [&'a str],
}

impl<'a> Program<'a> {
    pub fn new(name: &'a str) -> Self {
        Program { name, link: Link::Static, flags: &[], arguments: &[] }
    }

    pub fn link(mut self, link: Link) -> Self {
        self.link = link;
        self
    }

    pub fn flags(mut self, flags: &'a [&'a str]) -> Self {
        self.flags = flags;
        self
    }

    pub fn arguments(mut self, arguments: &'a [&'a str]) -> Self {
        self.arguments = arguments;
        self
    }

    /// What it printed; a program that fails fails the test.
    pub fn run(self) -> String {
        let source = tests().join("c").join(self.name);
        let flags: Vec<&str> =
            ["-std=c11", "-D_GNU_SOURCE"].into_iter().chain(self.flags.iter().copied()).collect();
        let program = compile(&cc(), &source, &flags, self.link);
        let shared = library().shared.to_string_lossy();
        let arguments: Vec<&str> =
            [&*shared].into_iter().chain(self.arguments.iter().copied()).collect();
        let printed = run(&program, &arguments);
        std::fs::remove_file(program).unwrap();
        printed
    }
}
