//! The header: generated, committed, and fit for every C and C++ that may include it.

#[path = "support/header.rs"]
mod header;

/// `POINTSMAN_BLESS=1 cargo test -p pointsman-ffi --test header` writes the header anew.
#[test]
fn the_committed_header_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../include/pointsman.h");
    let generated = header::generate();
    if std::env::var_os("POINTSMAN_BLESS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../include")).unwrap();
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/pointsman.h is not what the sources say; run \
         POINTSMAN_BLESS=1 cargo test -p pointsman-ffi --test header"
    );
}
