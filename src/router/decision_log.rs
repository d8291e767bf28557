//! The decision log: a random one in N decisions, with what is known of it.

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
    /// Hands the decision to the hook with a chance of one in `every`. Where the hook panics, the
    /// caller owns the selection by now, so its load is given back.
    pub(super) fn offer(&self, record: impl FnOnce() -> DecisionRecord) {
        if self.every <= 1 || self.random.below(self.every as usize) == 0 {
            (self.hook)(&record());
        }
    }
}
