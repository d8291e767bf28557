//! One worker's flat row of atomics, reached by slot.
//!
//! What every request writes lies together on one pair of cache lines; what only failures and
//! reports write lies on the next.

use super::health::Outcome;
use super::means::Means;
use super::report::{LoadReport, Report};
use crate::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, Release, SeqCst},
};

/// Set in a slot's generation once its worker has left.
const VACANT: u64 = 1 << 63;
/// No limit on in-flight requests.
const UNLIMITED: u32 = u32::MAX;
/// One selection in a row's `requests`, above the requests in flight. There are fewer of those than
/// tickets, and 2^40 selections are a million a second for twelve days.
const SELECTED: u64 = 1 << 24;

/// What the router counts for one worker. Every method may be called from any thread.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct WorkerState {
    /// Requests in flight, and in steps of [`SELECTED`] the selections ever made: one atomic
    /// read-modify-write counts both.
    requests: AtomicU64,
    /// Raised when the slot goes to another worker; marked [`VACANT`] in between.
    generation: AtomicU64,
    /// KV tokens that the requests in flight are expected to hold at their end.
    resident_tokens: AtomicU64,
    limit: AtomicU32,
    /// Failures in a row.
    streak: AtomicU32,
    /// Successes since probation began.
    recovered: AtomicU32,
    /// The [`Standing`] that the health rules gave last.
    standing: AtomicU32,
    /// When the last load report was taken, plus one; 0 = there is none. A copy of the report's own
    /// time, so that choosing among workers without a fresh report touches no further line.
    reported: AtomicU64,
    /// Selections that the slot's earlier workers had, in steps of [`SELECTED`].
    inherited: AtomicU64,
    load: AtomicUsize,
    cold: Cold,
}

/// Written by failures, usage and reports only.
#[derive(Debug)]
#[repr(C, align(128))]
struct Cold {
    outcomes: [AtomicU64; Outcome::COUNT],
    predicted_cached: AtomicU64,
    reported_cached: AtomicU64,
    contradictory: AtomicU64,
    means: Means,
    /// Callbacks under way that concern the worker after its load was given back.
    pins: AtomicU32,
    /// End of the pause that an overloaded worker asked for.
    paused_until: AtomicU64,
    report: Report,
}

/// The worker's health by outcomes, as far as a completion needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Standing {
    Healthy = 0,
    Ejected = 1,
    Probation = 2,
}

impl WorkerState {
    /// Nothing counted yet.
    pub fn new() -> Self {
        WorkerState {
            requests: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            resident_tokens: AtomicU64::new(0),
            limit: AtomicU32::new(UNLIMITED),
            streak: AtomicU32::new(0),
            recovered: AtomicU32::new(0),
            standing: AtomicU32::new(0),
            reported: AtomicU64::new(0),
            inherited: AtomicU64::new(0),
            load: AtomicUsize::new(0),
            cold: Cold {
                outcomes: Default::default(),
                predicted_cached: AtomicU64::new(0),
                reported_cached: AtomicU64::new(0),
                contradictory: AtomicU64::new(0),
                means: Means::default(),
                pins: AtomicU32::new(0),
                paused_until: AtomicU64::new(0),
                report: Report::new(),
            },
        }
    }

    /// Requests sent to the worker and not yet completed.
    #[inline]
    pub fn in_flight(&self) -> usize {
        in_flight(self.requests.load(Relaxed))
    }

    /// A counter of requests in flight for a host's own type that embeds a row, to be handed out by
    /// [`Worker::load`](crate::Worker::load). A router's own workers are counted by
    /// [`WorkerState::in_flight`] instead.
    pub fn load(&self) -> &AtomicUsize {
        &self.load
    }

    /// Requests ever sent to the worker.
    pub fn selections(&self) -> u64 {
        let selected = self.requests.load(Relaxed) & !(SELECTED - 1);
        // Correct even after an overflow.
        selected.wrapping_sub(self.inherited.load(Relaxed)) / SELECTED
    }

    /// KV tokens that its requests in flight are expected to hold at their end.
    #[inline]
    pub fn resident_tokens(&self) -> u64 {
        self.resident_tokens.load(Relaxed)
    }

    /// Whether another request fits under the limit.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.in_flight() < self.limit.load(Relaxed) as usize
    }

    /// Whether a limit is set.
    pub(crate) fn is_limited(&self) -> bool {
        self.limit.load(Relaxed) != UNLIMITED
    }

    pub(crate) fn set_limit(&self, limit: Option<u32>) {
        self.limit.store(limit.unwrap_or(UNLIMITED), Relaxed);
    }

    /// Charges one request; false, and nothing charged, if that would exceed the limit.
    ///
    /// The counter is raised first and lowered again when the limit was reached, so that two
    /// threads can never both take the last place.
    #[inline]
    pub(crate) fn charge(&self, resident_tokens: u64) -> bool {
        let before = in_flight(self.requests.fetch_add(SELECTED + 1, SeqCst));
        if before >= self.limit.load(Relaxed) as usize {
            self.requests.fetch_sub(SELECTED + 1, SeqCst);
            return false;
        }
        if resident_tokens > 0 {
            self.resident_tokens.fetch_add(resident_tokens, Relaxed);
        }
        true
    }

    /// Gives back what [`WorkerState::charge`] charged. Called once per charge: the ticket's state
    /// decides which thread calls it, so the counters cannot go below zero.
    #[inline]
    pub(crate) fn release(&self, resident_tokens: u64) {
        if resident_tokens > 0 {
            self.resident_tokens.fetch_sub(resident_tokens, Relaxed);
        }
        // Release: a thread that finds the slot empty (Acquire) also sees all that the request wrote.
        // Sequentially consistent: see `fleet::room`.
        self.requests.fetch_sub(1, SeqCst);
    }

    /// Takes back a charge for a request that was not sent: it does not count as selected either.
    pub(crate) fn uncharge(&self, resident_tokens: u64) {
        if resident_tokens > 0 {
            self.resident_tokens.fetch_sub(resident_tokens, Relaxed);
        }
        self.requests.fetch_sub(SELECTED + 1, SeqCst);
    }

    /// Keeps the slot from changing hands while a callback about its worker runs.
    pub(crate) fn pin(&self) {
        self.cold.pins.fetch_add(1, SeqCst);
    }

    /// Ends a [`WorkerState::pin`].
    pub(crate) fn unpin(&self) {
        self.cold.pins.fetch_sub(1, Release);
    }

    /// Whether nothing is charged and no callback runs, so that the slot can go to another worker.
    pub(crate) fn is_idle(&self) -> bool {
        in_flight(self.requests.load(SeqCst)) == 0 && self.cold.pins.load(SeqCst) == 0
    }

    /// The generation of the worker that holds the slot; if it is free, one that no worker has.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// The generation of the worker that holds the slot, or held it last.
    #[inline]
    pub(crate) fn last_generation(&self) -> u64 {
        self.generation() & !VACANT
    }

    /// Whether the slot's last worker has left.
    #[inline]
    pub(crate) fn is_vacant(&self) -> bool {
        self.generation() & VACANT != 0
    }

    /// Gives the slot to a worker, clean.
    pub(crate) fn occupy(&self, generation: u64, limit: Option<u32>) {
        // The requests in flight stay: another thread may be charging the slot's last worker at this
        // moment, and will undo that.
        let selected = self.requests.load(Relaxed) & !(SELECTED - 1);
        self.inherited.store(selected, Relaxed);
        let Cold { predicted_cached, reported_cached, contradictory, .. } = &self.cold;
        for counter in [predicted_cached, reported_cached, contradictory] {
            counter.store(0, Relaxed);
        }
        self.cold.outcomes.iter().for_each(|outcome| outcome.store(0, Relaxed));
        self.cold.means.reset();
        self.cold.paused_until.store(0, Relaxed);
        self.forget_report();
        self.set_limit(limit);
        self.set_standing(Standing::Healthy);
        self.generation.store(generation, SeqCst);
    }

    /// Takes the slot from its worker. A request that charges it from here on undoes that: see "Removal"
    /// in [`crate::ticket::table`].
    pub(crate) fn vacate(&self) {
        self.generation.fetch_or(VACANT, SeqCst);
    }

    /// Forgets every charge: only for a forked child, which inherits no request.
    pub(crate) fn forget_charges(&self) {
        self.requests.fetch_and(!(SELECTED - 1), Relaxed);
        self.resident_tokens.store(0, Relaxed);
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.standing.load(Relaxed) {
            0 => Standing::Healthy,
            1 => Standing::Ejected,
            _ => Standing::Probation,
        }
    }

    /// Enters a standing with clean counters.
    pub(crate) fn set_standing(&self, standing: Standing) {
        self.streak.store(0, Relaxed);
        self.recovered.store(0, Relaxed);
        self.standing.store(standing as u32, Relaxed);
    }

    pub(crate) fn streak(&self) -> u32 {
        self.streak.load(Relaxed)
    }

    pub(crate) fn recovered(&self) -> u32 {
        self.recovered.load(Relaxed)
    }

    /// Counts a failure; how many that makes in a row.
    pub(crate) fn count_failure(&self) -> u32 {
        self.streak.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Whether a success changes nothing: the worker is not on probation, and its last request did not
    /// fail.
    #[inline]
    pub(crate) fn is_steady(&self) -> bool {
        self.streak.load(Relaxed) == 0 && self.standing.load(Relaxed) != Standing::Probation as u32
    }

    /// Counts a success. Returns how many there were in this probation, 0 outside of one. A healthy
    /// worker with no failures writes nothing.
    #[inline]
    pub(crate) fn count_success(&self) -> u32 {
        if self.streak.load(Relaxed) != 0 {
            self.streak.store(0, Relaxed);
        }
        if self.standing() == Standing::Probation {
            self.recovered.fetch_add(1, Relaxed).saturating_add(1)
        } else {
            0
        }
    }

    /// Lowers the worker's weight until then. Returns when an earlier pause ends, or has ended.
    pub(crate) fn pause_until(&self, until: u64) -> u64 {
        self.cold.paused_until.fetch_max(until, Relaxed)
    }

    /// The clock was set back by this much. Loses a pause that is asked for at this very moment.
    pub(crate) fn turn_pause_back(&self, by: u64) {
        let until = self.paused_until();
        self.cold.paused_until.store(until.saturating_sub(by), Relaxed);
    }

    pub(crate) fn paused_until(&self) -> u64 {
        self.cold.paused_until.load(Relaxed)
    }

    /// Counts a completion other than a success; successes follow from the rest.
    pub(crate) fn count_outcome(&self, index: usize) {
        if let Some(counter) = self.cold.outcomes.get(index) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Completions by outcome, as counted by [`WorkerState::count_outcome`].
    pub(crate) fn outcomes(&self) -> [u64; Outcome::COUNT] {
        std::array::from_fn(|i| self.cold.outcomes[i].load(Relaxed))
    }

    pub(crate) fn count_cached(&self, predicted: u64, reported: u64) {
        self.cold.predicted_cached.fetch_add(predicted, Relaxed);
        self.cold.reported_cached.fetch_add(reported, Relaxed);
    }

    /// Cached tokens predicted and reported, over the requests whose usage was reported.
    pub(crate) fn cached(&self) -> (u64, u64) {
        (self.cold.predicted_cached.load(Relaxed), self.cold.reported_cached.load(Relaxed))
    }

    /// Counts a report that contradicts itself.
    pub(crate) fn count_contradictory(&self) {
        self.cold.contradictory.fetch_add(1, Relaxed);
    }

    pub(crate) fn contradictory(&self) -> u64 {
        self.cold.contradictory.load(Relaxed)
    }

    /// What it has reported of lengths.
    pub(crate) fn means(&self) -> &Means {
        &self.cold.means
    }

    /// Stores what the worker says about its own load. Where two threads store at the same time, one
    /// of the reports is dropped. A router's rows are written by `Router::report_load`; this is for
    /// hosts whose own worker type embeds a row.
    pub fn store_report(&self, report: &LoadReport) {
        self.cold.report.write(Some(report));
        self.reported.store(report.at.as_nanos().saturating_add(1), Relaxed);
    }

    /// Whether a report was taken at most `max_age` nanoseconds ago. One from further ahead is from
    /// before the clock was set back.
    #[inline]
    pub(crate) fn is_reported(&self, now: u64, max_age: u64) -> bool {
        let at = self.reported.load(Relaxed);
        at != 0 && now.abs_diff(at - 1) <= max_age
    }

    fn forget_report(&self) {
        self.reported.store(0, Relaxed);
        self.cold.report.write(None);
    }

    /// The last report, unless there is none or one is being written at this moment.
    pub fn report(&self) -> Option<LoadReport> {
        self.cold.report.read()
    }
}

/// The requests in flight among a row's `requests`.
#[inline]
fn in_flight(requests: u64) -> usize {
    (requests & (SELECTED - 1)) as usize
}

impl Default for WorkerState {
    fn default() -> Self {
        Self::new()
    }
}
