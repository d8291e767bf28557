//! A worker and its state, as hosts list them.

use std::sync::Arc;

use serde::Serialize;

use crate::worker::spec::WorkerInfo;

/// A worker and its state, for listings.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// What it was registered as.
    pub info: Arc<WorkerInfo>,
    /// Configured weight.
    pub weight: f64,
    /// Weight in force: ramped by slow start, lowered while overloaded.
    pub effective_weight: f64,
    /// Whether its health lets it take new work.
    pub healthy: bool,
    /// Whether it gets one request at a time, to see if it has recovered.
    pub on_probation: bool,
    /// Whether it is draining.
    pub draining: bool,
    /// Requests that it may hold at once; on probation it is one, whatever this says.
    pub max_in_flight: Option<u32>,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests ever sent to it.
    pub selections: u64,
    /// Completions other than successes, by [`crate::Outcome::index`].
    pub outcomes: [u64; 7],
    /// KV tokens that its requests in flight are expected to hold at their end.
    pub resident_tokens: u64,
    /// Cached tokens that the tree predicted, over requests whose usage was reported.
    pub predicted_cached_tokens: u64,
    /// Cached tokens that the worker reported for those requests.
    pub reported_cached_tokens: u64,
    /// Reports of token counts that contradict themselves, from which nothing was learned.
    pub contradictory_reports: u64,
}
