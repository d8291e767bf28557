//! The sources of this crate.

use std::path::{Path, PathBuf};

/// Every source file, and the module of the crate's root that it belongs to.
pub fn all() -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut files);
    files.sort();
    files
}

fn collect(directory: &Path, module: Option<&str>, files: &mut Vec<(String, PathBuf)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let module = module.unwrap_or(&stem);
        if path.is_dir() {
            collect(&path, Some(module), files);
        } else {
            files.push((module.to_owned(), path));
        }
    }
}
