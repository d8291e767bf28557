//! The one place that decides between std's atomics and loom's.
//!
//! Code that a loom model exercises imports its atomics from here; under `--cfg loom` they become
//! loom's, which explores every interleaving that the memory model allows.

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;
