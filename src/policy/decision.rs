//! What a policy answers: which worker, and why.

use serde::Serialize;

use super::reason::Reason;
use crate::worker::WorkerId;

/// Which worker a policy chose, and why.
///
/// Later versions may add fields. A policy that writes
/// `Decision { score, ..Decision::new(worker, reason) }` still compiles then.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// The chosen worker.
    pub worker: WorkerId,
    /// Why.
    pub reason: Reason,
    /// Leading tokens of the prompt that the worker is believed to hold.
    pub matched_tokens: u32,
    /// What the policy minimised, in its own unit; 0 where it compares nothing.
    pub score: f64,
    /// The best of those that lost.
    pub runner_up: Option<RunnerUp>,
    /// Prompt tokens that the worker will have to compute, for policies that track work; handed
    /// back with the callbacks.
    pub work_tokens: u32,
}

impl Decision {
    /// A decision that compared nothing.
    #[inline]
    pub fn new(worker: WorkerId, reason: Reason) -> Self {
        Decision { worker, reason, matched_tokens: 0, score: 0.0, runner_up: None, work_tokens: 0 }
    }
}

/// The best worker that was not chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RunnerUp {
    /// That worker.
    pub worker: WorkerId,
    /// Its score, in the unit of the decision's.
    pub score: f64,
}

/// The longest match that any eligible worker had: what another choice would have found, and where the prompt's
/// KV could be fetched from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BestMatch {
    /// That worker; the chosen one where none had more.
    pub worker: WorkerId,
    /// Leading tokens of the prompt that it is believed to hold.
    pub tokens: u32,
}

/// A prefill and a decode worker, chosen together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairDecision {
    /// The worker that computes the prompt.
    pub prefill: Decision,
    /// The worker that generates the answer.
    pub decode: Decision,
}
