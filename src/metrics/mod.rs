//! What the router counts, as a typed snapshot and as text.
//!
//! - [`prometheus`]: the text format, which OpenMetrics parsers read as well.

mod prometheus;

use std::sync::Arc;

use crate::policy::Reason;
use crate::prefix::TreeStats;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::worker::{Role, spec::WorkerInfo};

/// Decisions by role and reason: one copy per stripe.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    counts: [[AtomicU64; Reason::COUNT]; 3],
}

impl Decisions {
    #[inline]
    pub(crate) fn count(&self, role: Role, reason: Reason) {
        self.counts[role.index()][reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self, role: Role, reason: Reason) -> u64 {
        self.counts[role.index()][reason as usize].load(Relaxed)
    }
}

/// Everything counted since the router was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Decisions, one row per policy, role and reason that occurred.
    pub decisions: Vec<DecisionCount>,
    /// One row per worker.
    pub workers: Vec<WorkerMetrics>,
    /// The prefix tree.
    pub tree: TreeStats,
    /// The tickets.
    pub tickets: TicketMetrics,
}

/// How often a policy decided so.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecisionCount {
    /// The policy's name.
    pub policy: String,
    /// The role that it chose a worker for.
    pub role: Role,
    /// Why it chose that worker.
    pub reason: Reason,
    /// How often.
    pub count: u64,
}

/// What is counted for one worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// The worker.
    pub info: Arc<WorkerInfo>,
    /// Whether it takes new work as far as its health goes.
    pub healthy: bool,
    /// Whether it is draining.
    pub draining: bool,
    /// Weight in force.
    pub weight: f64,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests ever sent to it.
    pub selections: u64,
    /// Completions other than successes, by [`crate::Outcome::index`].
    pub outcomes: [u64; 7],
    /// Cached tokens that the tree predicted, over requests whose usage was reported.
    pub predicted_cached_tokens: u64,
    /// Cached tokens that the worker reported for those requests.
    pub reported_cached_tokens: u64,
    /// KV tokens that its requests in flight are expected to hold at their end.
    pub resident_tokens: u64,
}

/// What is counted for tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TicketMetrics {
    /// Open now.
    pub open: usize,
    /// Most that can be open.
    pub capacity: usize,
    /// Selections that got no ticket because the table was full.
    pub untracked: u64,
    /// Tickets closed because nobody completed them.
    pub expired: u64,
    /// Bytes held by the table.
    pub bytes: usize,
}
