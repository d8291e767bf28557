//! The events of the requests that a policy decided.

use super::decision::Decision;
use super::request_view::RequestView;
use crate::time::Time;
use crate::worker::{Role, WorkerId, health::Outcome};

/// A charged decision; a pair has one for each role.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Dispatch<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// The role that the worker plays in it.
    pub role: Role,
    /// The request.
    pub request: &'a RequestView<'a>,
}

/// The first token of a dispatched request: its prompt has been computed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FirstToken {
    /// The worker that computed the prompt.
    pub worker: WorkerId,
    /// Its role: regular or prefill.
    pub role: Role,
    /// Monotonic nanoseconds.
    pub now: Time,
    /// When the request was dispatched.
    pub dispatched: Time,
    /// The decision's `work_tokens`.
    pub work_tokens: u32,
    /// The decision's `matched_tokens`.
    pub matched_tokens: u32,
    /// Prompt tokens that the worker says it found in its cache.
    pub cached_tokens: Option<u32>,
}

/// The end of a dispatched request, of a single worker or of a pair.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Completion {
    /// The worker that answered: the regular or the decode worker.
    pub worker: WorkerId,
    /// The worker that computed the prompt: the prefill worker of a pair, else the same worker. `None` if
    /// that prefill worker has left.
    pub prefill: Option<WorkerId>,
    /// How it ended.
    pub outcome: Outcome,
    /// What the worker reported.
    pub usage: Usage,
    /// Monotonic nanoseconds.
    pub now: Time,
    /// When it was dispatched.
    pub dispatched: Time,
    /// Whether its first token had been reported.
    pub first_token_seen: bool,
    /// Whether that report said how many tokens were cached.
    pub cached_known: bool,
    /// The decision's `work_tokens`.
    pub work_tokens: u32,
    /// The decision's `matched_tokens`.
    pub matched_tokens: u32,
    /// KV tokens that the request was expected to hold at its end: its prompt's and its answer's, as
    /// the request's view gave them.
    pub resident_tokens: u32,
}

/// Token counts that a worker reported; unknown by default.
///
/// Later versions may add fields. A host that writes `Usage { prompt_tokens, ..Usage::default() }` still
/// compiles then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u32>,
    /// Prompt tokens found in the worker's cache.
    pub cached_tokens: Option<u32>,
    /// Tokens generated.
    pub completion_tokens: Option<u32>,
}
