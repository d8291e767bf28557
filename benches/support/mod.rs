//! What the benchmarks share.
//!
//! - [`allocations`]: a global allocator that counts.
//! - [`measure`]: interleaved runs, medians, spread, ratios taken within a run.
//! - [`proposal`]: the simple policies as the original proposal sketches them.

pub mod allocations;
pub mod measure;
pub mod proposal;
