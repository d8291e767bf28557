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
    /// Prompt tokens that the worker says it found in its cache. Not told, here and at the end, where the user
    /// speaks after an agent's loop and it is not known yet what engines keep of one.
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
/// Prompt tokens include the cached ones, as in OpenAI's APIs. [`Usage::including_cached`] and
/// [`Usage::excluding_cached`] name what an API's own counts mean. Where more is said to be cached than the
/// prompt has, the worker contradicts itself and nothing is learned from what it says: see
/// [`WorkerMetrics::contradictory_reports`](crate::metrics::WorkerMetrics::contradictory_reports).
///
/// Later versions may add fields. A host that writes `Usage { prompt_tokens, ..Usage::default() }` still
/// compiles then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, the cached ones among them.
    pub prompt_tokens: Option<u32>,
    /// Prompt tokens found in the worker's cache.
    pub cached_tokens: Option<u32>,
    /// Tokens generated.
    pub completion_tokens: Option<u32>,
}

impl Usage {
    /// Counts of an API whose prompt tokens include the cached ones, such as OpenAI's chat, completions and
    /// Responses.
    pub const fn including_cached(
        prompt_tokens: Option<u32>,
        cached_tokens: Option<u32>,
        completion_tokens: Option<u32>,
    ) -> Usage {
        Usage { prompt_tokens, cached_tokens, completion_tokens }
    }

    /// Counts of an API whose input tokens exclude those that were read from the cache or written into it,
    /// such as Anthropic's Messages.
    ///
    /// ```
    /// use pointsman::Usage;
    ///
    /// let usage = Usage::excluding_cached(Some(30), Some(64), Some(6), Some(7));
    /// assert_eq!(usage, Usage::including_cached(Some(100), Some(64), Some(7)));
    /// ```
    pub const fn excluding_cached(
        input_tokens: Option<u32>,
        cache_read_tokens: Option<u32>,
        cache_creation_tokens: Option<u32>,
        output_tokens: Option<u32>,
    ) -> Usage {
        const fn or_none(count: Option<u32>) -> u32 {
            match count {
                Some(count) => count,
                None => 0,
            }
        }
        let cached = or_none(cache_read_tokens);
        let prompt_tokens = match input_tokens {
            // A sum that no prompt has is not known.
            Some(input) => match input.checked_add(cached) {
                Some(sum) => sum.checked_add(or_none(cache_creation_tokens)),
                None => None,
            },
            None => None,
        };
        Usage { prompt_tokens, cached_tokens: cache_read_tokens, completion_tokens: output_tokens }
    }

    /// Whether more is said to be cached than the prompt has.
    pub(crate) fn is_contradictory(&self) -> bool {
        matches!((self.cached_tokens, self.prompt_tokens), (Some(cached), Some(prompt)) if cached > prompt)
    }
}
