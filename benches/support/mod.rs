//! What the benchmarks share.
//!
//! - [`allocations`]: a global allocator that counts.
//! - [`measure`]: interleaved runs, medians, spread, ratios taken within a run.
//! - [`samples`]: the same for passes over a whole workload.
//! - [`bars`]: what a figure is held against.
//! - [`workloads`]: seeded prompts.
//! - [`bodies`]: request bodies as JSON.
//! - [`fleet`]: a router with requests in flight.
//! - [`cache_aware`]: the whole cache-aware select, one file per family of bars.
//! - [`simple`]: the policies that do not read the prompt.
//! - [`proposal`]: these policies as the original proposal sketches them.

#![allow(dead_code, reason = "each benchmark uses a part")]
#![allow(clippy::expect_used, reason = "a benchmark whose set-up fails has nothing to measure")]

#[path = "../../tests/support/counting.rs"]
pub mod allocations;
pub mod bars;
pub mod bodies;
pub mod cache_aware;
pub mod fleet;
pub mod measure;
pub mod proposal;
pub mod samples;
pub mod simple;
pub mod workloads;
