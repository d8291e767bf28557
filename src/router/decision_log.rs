//! The decision log: a random one in N decisions, with what is known of it.

use serde::Serialize;

use crate::policy::{BestMatch, Reason, RunnerUp};
use crate::random::Random;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::stripe::thread_mark;
use crate::ticket::Ticket;
use crate::time::Time;
use crate::worker::{Role, WorkerId};

/// One decision, as the log's hook sees it.
#[derive(Clone, Copy, Debug, Serialize)]
#[non_exhaustive]
pub struct DecisionRecord {
    /// When, in the nanoseconds of the router's clock.
    pub now: Time,
    /// The role that a worker was chosen for.
    pub role: Role,
    /// The chosen worker.
    pub worker: WorkerId,
    /// Why it was chosen.
    pub reason: Reason,
    /// Leading tokens of the prompt that the worker is believed to hold.
    pub matched_tokens: u32,
    /// Tokens of the prompt.
    pub total_tokens: u32,
    /// What the policy minimised.
    pub score: f64,
    /// The best of those not chosen.
    pub runner_up: Option<RunnerUp>,
    /// The longest match that any candidate had, where the prompt was read and something was found.
    pub best_match: Option<BestMatch>,
    /// The request's ticket.
    pub ticket: Ticket,
}

/// Called with a sample of the decisions.
pub(super) type Hook = Box<dyn Fn(&DecisionRecord) + Send + Sync>;

/// Threads that may be in a hook at once before one that selects there is logged in turn.
const THREADS: usize = 64;

/// The hook and how often it is called.
pub(super) struct DecisionLog {
    every: u32,
    hook: Hook,
    random: Random,
    /// The marks of the threads that are in the hook; 0 in free places.
    inside: [AtomicU64; THREADS],
}

impl DecisionLog {
    pub(super) fn new(every: u32, hook: Hook, random: Random) -> Self {
        DecisionLog { every, hook, random, inside: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Hands the decision to the hook with a chance of one in `every`, unless the hook itself has asked
    /// for it: a log that selects would never end. Where the hook panics, the caller owns the selection by
    /// now, so its load is given back.
    pub(super) fn offer(&self, record: impl FnOnce() -> DecisionRecord) {
        if self.every > 1 && self.random.below(self.every as usize) != 0 {
            return;
        }
        if let Some(_inside) = self.enter() {
            (self.hook)(&record());
        }
    }

    /// Nothing where this thread is in the hook. Relaxed: a thread looks for its own mark, which no other
    /// one writes; only that a place is taken once matters, and the exchange sees to that.
    fn enter(&self) -> Option<Inside<'_>> {
        let mark = thread_mark();
        if self.inside.iter().any(|place| place.load(Relaxed) == mark) {
            return None;
        }
        let take = |place: &&AtomicU64| place.compare_exchange(0, mark, Relaxed, Relaxed).is_ok();
        Some(Inside(self.inside.iter().find(take)))
    }
}

/// A thread is in the hook until this is dropped; without a place where there is none free.
struct Inside<'a>(Option<&'a AtomicU64>);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.store(0, Relaxed);
        }
    }
}
