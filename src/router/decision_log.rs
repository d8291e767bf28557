//! The decision log: a random one in N decisions, with what is known of it.

use std::cell::Cell;

use serde::Serialize;

use crate::policy::{Reason, RunnerUp};
use crate::random::Random;
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
    /// The request's ticket.
    pub ticket: Ticket,
}

/// Called with a sample of the decisions.
pub(super) type Hook = Box<dyn Fn(&DecisionRecord) + Send + Sync>;

/// The hook and how often it is called.
pub(super) struct DecisionLog {
    pub(super) every: u32,
    pub(super) hook: Hook,
    pub(super) random: Random,
}

impl DecisionLog {
    /// Hands the decision to the hook with a chance of one in `every`, unless a hook of this thread has
    /// asked for it: a log that selects would never end. Where the hook panics, the caller owns the
    /// selection by now, so its load is given back.
    pub(super) fn offer(&self, record: impl FnOnce() -> DecisionRecord) {
        if self.every <= 1 || self.random.below(self.every as usize) == 0 {
            if let Some(_logging) = Logging::begin() {
                (self.hook)(&record());
            }
        }
    }
}

thread_local! {
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// Stands for a hook that runs on this thread, until dropped.
struct Logging;

impl Logging {
    /// None where one is running.
    fn begin() -> Option<Self> {
        if LOGGING.replace(true) { None } else { Some(Logging) }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        LOGGING.set(false);
    }
}
