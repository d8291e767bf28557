//! What the router counts, as a typed snapshot and as text.
//!
//! - `prometheus`: the text format, which OpenMetrics parsers read as well.

mod prometheus;

use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::body::History;
use crate::policy::Reason;
pub use crate::prefix::tree::TreeStats;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::worker::{Role, health::Outcome, spec::WorkerInfo};

/// Adds to a counter that no other thread adds to at this moment.
#[inline(always)]
pub(crate) fn add_alone(counter: &AtomicU64, count: u32) {
    counter.store(counter.load(Relaxed).wrapping_add(count.into()), Relaxed);
}

/// Adds to a counter that any thread adds to.
pub(crate) fn add_shared(counter: &AtomicU64, count: u32) {
    counter.fetch_add(count.into(), Relaxed);
}

/// What one policy decided, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    counts: [[AtomicU64; Reason::COUNT]; 3],
    prompt_tokens: AtomicU64,
    best_tokens: AtomicU64,
    matched_tokens: AtomicU64,
    refuted_tokens: AtomicU64,
    first_tokens: AtomicU64,
    first_token_nanos: AtomicU64,
}

impl Decisions {
    /// Counts decisions by `add`: [`add_alone`] or [`add_shared`].
    #[inline(always)]
    pub(crate) fn count(&self, role: Role, reason: Reason, add: impl Fn(&AtomicU64, u32)) {
        add(&self.counts[role.index()][reason as usize], 1);
    }

    #[inline(always)]
    pub(crate) fn count_tokens(&self, prompt: u32, matched: u32, add: impl Fn(&AtomicU64, u32)) {
        add(&self.prompt_tokens, prompt);
        add(&self.matched_tokens, matched);
    }

    /// The longest match of any candidate.
    pub(crate) fn count_best(&self, tokens: u32, add: impl Fn(&AtomicU64, u32)) {
        add(&self.best_tokens, tokens);
    }

    /// A worker found so many tokens fewer in its cache than it was believed to hold.
    pub(crate) fn count_refuted(&self, tokens: u32) {
        self.refuted_tokens.fetch_add(tokens.into(), Relaxed);
    }

    pub(crate) fn count_first_token(&self, nanos: u64) {
        self.first_tokens.fetch_add(1, Relaxed);
        self.first_token_nanos.fetch_add(nanos, Relaxed);
    }

    pub(crate) fn get(&self, role: Role, reason: Reason) -> u64 {
        self.counts[role.index()][reason as usize].load(Relaxed)
    }

    /// Adds this stripe's sums.
    pub(crate) fn add_to(&self, sums: &mut PolicyMetrics) {
        sums.prompt_tokens += self.prompt_tokens.load(Relaxed);
        sums.best_tokens += self.best_tokens.load(Relaxed);
        sums.matched_tokens += self.matched_tokens.load(Relaxed);
        sums.refuted_tokens += self.refuted_tokens.load(Relaxed);
        sums.first_tokens += self.first_tokens.load(Relaxed);
        sums.first_token_seconds += self.first_token_nanos.load(Relaxed) as f64 / 1e9;
    }
}

/// What a shadow has seen: one copy per stripe.
#[derive(Debug, Default)]
pub(crate) struct ShadowCounts {
    compared: AtomicU64,
    differing: AtomicU64,
    failed: AtomicU64,
    work: AtomicU64,
    shadow_work: AtomicU64,
}

/// How a shadow's decision compares with the real one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    pub(crate) differs: bool,
    /// Prompt tokens that the chosen worker has to compute.
    pub(crate) work: u32,
    /// Prompt tokens that the shadow's worker would have had to.
    pub(crate) shadow_work: u32,
}

impl ShadowCounts {
    /// Counts a comparison, or that the shadow had no answer.
    pub(crate) fn count(&self, compared: Option<Comparison>) {
        let Some(Comparison { differs, work, shadow_work }) = compared else {
            self.failed.fetch_add(1, Relaxed);
            return;
        };
        self.compared.fetch_add(1, Relaxed);
        self.differing.fetch_add(differs.into(), Relaxed);
        self.work.fetch_add(work.into(), Relaxed);
        self.shadow_work.fetch_add(shadow_work.into(), Relaxed);
    }

    /// Adds this stripe's sums.
    pub(crate) fn add_to(&self, sums: &mut ShadowMetrics) {
        sums.compared += self.compared.load(Relaxed);
        sums.differing += self.differing.load(Relaxed);
        sums.failed += self.failed.load(Relaxed);
        sums.work_tokens += self.work.load(Relaxed);
        sums.shadow_work_tokens += self.shadow_work.load(Relaxed);
    }
}

/// Everything counted since the router was made.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MetricsSnapshot {
    /// Decisions, one row per policy, role and reason that occurred.
    pub decisions: Vec<DecisionCount>,
    /// One row per policy name and part it has played.
    pub policies: Vec<PolicyMetrics>,
    /// What the shadow policy has seen, if there is one.
    pub shadow: Option<ShadowMetrics>,
    /// One row per worker.
    pub workers: Vec<WorkerMetrics>,
    /// The prefix tree.
    pub tree: TreeStats,
    /// The tickets.
    pub tickets: TicketMetrics,
    /// What is learned of the engines' chat template, where the render profile is `auto`.
    pub profile: Option<ProfileMetrics>,
}

/// What is learned of the engines' chat template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProfileMetrics {
    /// What the engines are taken to keep once the user speaks.
    pub history: History,
    /// Reports at users' turns after loops whose reasoning was returned: how many said that the engine had
    /// kept the loop, and how many that it had not.
    pub reasoned: [u64; 2],
    /// The same after loops whose reasoning was not returned.
    pub plain: [u64; 2],
}

/// How often a policy decided so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DecisionCount {
    /// The policy's name.
    pub policy: String,
    /// The part it plays: `main`, `split` or `shadow`.
    pub arm: &'static str,
    /// The role that it chose a worker for.
    pub role: Role,
    /// Why it chose that worker.
    pub reason: Reason,
    /// How often.
    pub count: u64,
}

/// What is counted for one policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PolicyMetrics {
    /// The policy's name.
    pub policy: String,
    /// The part it plays: `main`, `split` or `shadow`.
    pub arm: &'static str,
    /// Prompt tokens of the requests it routed by prefix.
    pub prompt_tokens: u64,
    /// Of these, those that the candidate with the longest match was believed to hold: the others were in no
    /// cache that the request could use.
    pub best_tokens: u64,
    /// Of these, those that the chosen worker was believed to hold: where they are fewer, the policy preferred
    /// a worker with less.
    pub matched_tokens: u64,
    /// Of these, those that the chosen workers did not find in their caches, as far as they reported.
    pub refuted_tokens: u64,
    /// First tokens reported.
    pub first_tokens: u64,
    /// Seconds from dispatch to first token, summed.
    pub first_token_seconds: f64,
}

/// How a shadow's decisions compare with the real ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShadowMetrics {
    /// Its name.
    pub policy: String,
    /// Decisions compared.
    pub compared: u64,
    /// Of these, those in which it would have chosen another worker.
    pub differing: u64,
    /// Requests for which it had no answer.
    pub failed: u64,
    /// Prompt tokens that the chosen workers had to compute, as estimated.
    pub work_tokens: u64,
    /// Prompt tokens that the shadow's workers would have had to compute.
    pub shadow_work_tokens: u64,
}

/// What is counted for one worker.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// The worker.
    pub info: Arc<WorkerInfo>,
    /// Whether its health lets it take new work.
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
    #[serde(serialize_with = "outcomes_by_name")]
    pub outcomes: [u64; Outcome::COUNT],
    /// Cached tokens that the tree predicted, over requests whose usage was reported.
    pub predicted_cached_tokens: u64,
    /// Cached tokens that the worker reported for those requests.
    pub reported_cached_tokens: u64,
    /// Reports of token counts that contradict themselves, from which nothing was learned.
    pub contradictory_reports: u64,
    /// KV tokens that its requests in flight are expected to hold at their end.
    pub resident_tokens: u64,
    /// What the policy at work knows about it, by name.
    #[serde(serialize_with = "gauges_by_name")]
    pub policy_gauges: Vec<(&'static str, f64)>,
}

/// What is counted for tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TicketMetrics {
    /// Open now.
    pub open: usize,
    /// Most that can be open.
    pub capacity: usize,
    /// Selections that got no ticket because the table was full.
    pub untracked: u64,
    /// Tickets that expired before they were completed.
    pub expired: u64,
    /// Bytes held by the table.
    pub bytes: usize,
}

fn outcomes_by_name<S: Serializer>(
    outcomes: &[u64; Outcome::COUNT],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Outcome::NAMES.iter().zip(outcomes))
}

fn gauges_by_name<S: Serializer>(
    gauges: &[(&'static str, f64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(gauges.iter().copied())
}
