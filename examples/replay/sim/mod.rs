//! The simulator: a cluster of inference engines in discrete events, deterministic for a seed.
//!
//! - `lru`: a worker's prefix cache.
//! - `worker`: one engine's queue, prefill and decode batch.
//! - `fleet`: which workers there are, and what happens to them.
//! - `arrivals`: when requests come.
//! - `engine`: the event loop; `service`: what workers do with a request.
//! - `oracle`: what a perfect cache would have saved.
//! - `outcome`: what is measured.

pub(crate) mod arrivals;
pub(crate) mod engine;
pub(crate) mod fleet;
pub(crate) mod lru;
pub(crate) mod oracle;
pub(crate) mod outcome;
pub(crate) mod rng;
mod service;
pub(crate) mod worker;

/// The least total order over simulated times that a heap can use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Instant(pub(crate) f64);

impl Eq for Instant {}

impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
