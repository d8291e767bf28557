//! What the binary interface consists of, held against committed lists.

#[test]
fn a() {}
