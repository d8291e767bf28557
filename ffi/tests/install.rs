//! The installed package, used by a project outside of the tree. CMake is tried by `checks.sh`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/cc.rs"]
mod cc;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Both libraries side by side, as a build leaves them. Laid once: the tests here run at the same time,
/// and one must not install what another is still writing.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = fresh("built");
        let library = cc::library();
        std::fs::copy(&library.archive, built.join("libpointsman.a")).unwrap();
        std::fs::copy(&library.shared, built.join("libpointsman.so")).unwrap();
        built
    })
}

fn install(destination: &Path, arguments: &[&str]) {
    let from = built();
    let output = Command::new("sh")
        .arg(cc::tests().join("../install.sh"))
        .arg(format!("--from={}", from.display()))
        .args(arguments)
        .env("DESTDIR", destination)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_installed_is_stripped_and_its_debug_information_is_kept() {
    if !cc::works("objcopy") || !cc::works("readelf") {
        return cc::not_checked("binutils missing");
    }
    let root = fresh("stripped");
    install(&root, &["--prefix=/usr"]);
    let lib = root.join("usr/lib");
    let sections = |file: &str| {
        let output = Command::new("readelf").args(["-SW", file]).current_dir(&lib).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    for file in ["libpointsman.so.0.1.0", "libpointsman.a"] {
        assert!(!sections(file).contains(".debug_line"), "{file}");
    }
    assert!(sections("libpointsman.so").contains(".gnu_debuglink"));
    for file in [".debug/libpointsman.so.0.1.0.debug", ".debug/libpointsman.a"] {
        assert!(sections(file).contains(".debug_line"), "{file}");
    }
    // Again, and without.
    install(&root, &["--prefix=/usr", "--no-debug"]);
    assert!(!lib.join(".debug/libpointsman.a").exists());
    assert!(!sections("libpointsman.so").contains(".gnu_debuglink"));
}

fn fresh(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn everything_lies_where_packages_have_it() {
    let root = fresh("staged");
    install(&root, &["--prefix=/opt/p", "--libdir=/opt/p/lib/arch"]);
    let lib = root.join("opt/p/lib/arch");
    for file in [
        "libpointsman.a",
        "libpointsman.so.0.1.0",
        "pkgconfig/pointsman.pc",
        "pkgconfig/pointsman-static.pc",
        "cmake/pointsman/pointsman-config.cmake",
        "cmake/pointsman/pointsman-config-version.cmake",
        "../../include/pointsman.h",
        "../../include/pointsman.hpp",
    ] {
        assert!(lib.join(file).is_file(), "{file}");
    }
    let link = |name: &str| std::fs::read_link(lib.join(name)).unwrap();
    assert_eq!(link("libpointsman.so"), Path::new("libpointsman.so.0"));
    assert_eq!(link("libpointsman.so.0"), Path::new("libpointsman.so.0.1.0"));
    let pc = std::fs::read_to_string(lib.join("pkgconfig/pointsman.pc")).unwrap();
    assert!(pc.contains("libdir=/opt/p/lib/arch") && pc.contains("Version: 0.1.0"), "{pc}");
    // No path of the building machine, and nothing left to be filled in.
    for name in ["pkgconfig/pointsman-static.pc", "cmake/pointsman/pointsman-config.cmake"] {
        let text = std::fs::read_to_string(lib.join(name)).unwrap();
        assert!(!text.contains('@') && !text.contains("staged"), "{name}: {text}");
    }
    let cmake =
        std::fs::read_to_string(lib.join("cmake/pointsman/pointsman-config.cmake")).unwrap();
    assert!(cmake.contains("${_pointsman_libdir}/../../include"), "{cmake}");
    // Installing over what is there replaces it.
    install(&root, &["--prefix=/opt/p", "--libdir=/opt/p/lib/arch"]);
}

#[test]
fn a_path_that_is_not_one_is_refused_before_anything_is_written() {
    let root = fresh("refused");
    for argument in
        ["--prefix=", "--prefix=relative", "--libdir=lib", "--prefix=/o d", "--from=/no"]
    {
        let output = Command::new("sh")
            .arg(cc::tests().join("../install.sh"))
            .args(["--from=/nowhere", argument])
            .env("DESTDIR", &root)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{argument}");
        assert!(!output.stderr.is_empty(), "{argument}");
    }
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn a_program_outside_the_tree_builds_through_pkg_config() {
    if !cc::works("pkg-config") {
        return cc::not_checked("pkg-config missing");
    }
    let root = fresh("consumer");
    let prefix = root.join("usr");
    install(Path::new(""), &[&format!("--prefix={}", prefix.display())]);
    let source = root.join("first.c");
    std::fs::copy(cc::tests().join("../examples/first.c"), &source).unwrap();
    // The lines of ffi/README.md.
    let readme = std::fs::read_to_string(cc::tests().join("../README.md")).unwrap();
    let lines: Vec<&str> = readme.lines().filter(|line| line.contains("$(pkg-config")).collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        // The first line is for folders that the loader looks into by itself.
        let searched = line.contains("pointsman-static") || line.contains("-rpath");
        let path = if searched { PathBuf::new() } else { prefix.join("lib") };
        let status = Command::new("sh")
            .args(["-c", &format!("{line} && ./first")])
            .current_dir(&root)
            .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
            .env("LD_LIBRARY_PATH", path)
            .status();
        assert!(status.unwrap().success(), "{line}");
        std::fs::remove_file(root.join("first")).unwrap();
    }
}
