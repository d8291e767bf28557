//! Prompts as fingerprints, and the prefix tree: beside a naive model, at its limits and under threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "../support/counting.rs"]
mod counting;
#[path = "../models/tree.rs"]
mod model;
#[path = "../support/reference_tree.rs"]
mod reference_tree;

mod bounds;
mod fingerprint;
mod stress;
mod tree;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting { live: false, refuses: true };
