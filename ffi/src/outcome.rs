//! How a request ended.

use std::ffi::{CStr, c_char};
use std::time::Duration;

use pointsman_core::{Outcome, Usage};

use crate::argument::{Output, output};
use crate::failure::Failure;
use crate::role::pointsman_role;
use crate::special::{POINTSMAN_UNKNOWN, known};
use crate::status::pointsman_status;

/// How a request ended: one of the POINTSMAN_OUTCOME_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_outcome = u32;

/// The worker answered in full.
pub const POINTSMAN_OUTCOME_SUCCESS: pointsman_outcome = 0;

/// The client went away.
pub const POINTSMAN_OUTCOME_CLIENT_CANCELLED: pointsman_outcome = 1;

/// The request was the client's fault (4xx).
pub const POINTSMAN_OUTCOME_CLIENT_ERROR: pointsman_outcome = 2;

/// The worker failed: refused or broke the connection, or answered 5xx. Counts against its health.
pub const POINTSMAN_OUTCOME_WORKER_ERROR: pointsman_outcome = 3;

/// The worker did not answer in time. Counts against its health.
pub const POINTSMAN_OUTCOME_TIMEOUT: pointsman_outcome = 4;

/// The worker asked for a pause (429, 503): its weight is lowered for retry_after nanoseconds.
pub const POINTSMAN_OUTCOME_OVERLOADED: pointsman_outcome = 5;

/// The ticket was not completed in time. Reported only by the library.
pub const POINTSMAN_OUTCOME_EXPIRED: pointsman_outcome = 6;

/// How a request ended.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_completion {
    /// Set by POINTSMAN_COMPLETION_INIT.
    pub size: u32,
    /// How; POINTSMAN_OUTCOME_SUCCESS by default.
    pub outcome: pointsman_outcome,
    /// Nanoseconds until an overloaded worker takes its full share again.
    pub retry_after: u64,
    /// Tokens of the prompt as the worker reports them, the cached ones among them, as OpenAI's APIs count;
    /// for Anthropic's Messages see pointsman_usage_excluding_cached. Where cached_tokens is above it,
    /// nothing is learned from any of the counts. POINTSMAN_UNKNOWN by default.
    pub prompt_tokens: u32,
    /// Of these, found in its cache; POINTSMAN_UNKNOWN by default.
    pub cached_tokens: u32,
    /// Tokens generated; POINTSMAN_UNKNOWN by default.
    pub completion_tokens: u32,
    /// The worker of a pair that the outcome is about: POINTSMAN_ROLE_PREFILL or POINTSMAN_ROLE_DECODE; by
    /// default (POINTSMAN_ROLE_REGULAR) the prefill worker until the first token, then the decode worker.
    pub failed_role: pointsman_role,
    /// When it ended; POINTSMAN_NOW by default.
    pub now: u64,
}

sized!(pointsman_completion);

export! {
    /// An outcome's name, as in metrics; "unknown" for a number that is none. Never NULL; static.
    fn pointsman_outcome_string(outcome: pointsman_outcome) -> *const c_char
        => outcome_string(outcome);

    /// Sets a completion's outcome and retry_after to what the status of an HTTP response says about
    /// the worker, for a response that came to its end; the completion's other fields stay.
    /// retry_after: the nanoseconds that its Retry-After header asks for, 0 if it has none.
    ///
    /// 429, and 503 with a retry_after, are POINTSMAN_OUTCOME_OVERLOADED, for 1 second where no length is
    /// given and 300 seconds at most; 504 is POINTSMAN_OUTCOME_TIMEOUT; other 5xx are
    /// POINTSMAN_OUTCOME_WORKER_ERROR, other 4xx POINTSMAN_OUTCOME_CLIENT_ERROR, and all else is
    /// POINTSMAN_OUTCOME_SUCCESS. A response that never came or broke off has no status that counts:
    /// report POINTSMAN_OUTCOME_WORKER_ERROR.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, also if http_status is not between 100 and 599.
    fn pointsman_outcome_of_http_status(
        http_status: u32,
        retry_after: u64,
        completion: *mut pointsman_completion,
    ) -> pointsman_status => of_http_status(http_status, retry_after, output(completion));

    /// Sets a completion's token counts to what an API reports whose input tokens exclude those that were
    /// read from the cache or written into it, such as Anthropic's Messages (input_tokens,
    /// cache_read_input_tokens, cache_creation_input_tokens, output_tokens); each may be
    /// POINTSMAN_UNKNOWN. The completion's other fields stay.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT.
    fn pointsman_usage_excluding_cached(
        input_tokens: u32,
        cache_read_tokens: u32,
        cache_creation_tokens: u32,
        output_tokens: u32,
        completion: *mut pointsman_completion,
    ) -> pointsman_status => excluding_cached(input_tokens, cache_read_tokens, cache_creation_tokens, output_tokens, output(completion));
}

fn outcome_string(outcome: pointsman_outcome) -> Result<*const c_char, Failure> {
    Ok(NAMES.get(outcome as usize).map_or(c"unknown", |name| name).as_ptr())
}

const NAMES: [&CStr; Outcome::NAMES.len()] = [
    c"success",
    c"client_cancelled",
    c"client_error",
    c"worker_error",
    c"timeout",
    c"overloaded",
    c"expired",
];

fn of_http_status(
    http_status: u32,
    retry_after: u64,
    completion: Output<pointsman_completion>,
) -> Result<(), Failure> {
    let status = u16::try_from(http_status).ok().filter(|status| (100..=599).contains(status));
    let status = status.ok_or(Failure::argument("http_status", "is not between 100 and 599"))?;
    let told = Some(Duration::from_nanos(retry_after)).filter(|pause| !pause.is_zero());
    let outcome = Outcome::from_http_status(status, told);
    let pause = match outcome {
        Outcome::Overloaded { retry_after } => retry_after.as_nanos() as u64,
        _ => 0,
    };
    completion.change(|end| {
        end.outcome = outcome.index() as u32;
        end.retry_after = pause;
    });
    Ok(())
}

fn excluding_cached(
    input: u32,
    read: u32,
    created: u32,
    output: u32,
    completion: Output<pointsman_completion>,
) -> Result<(), Failure> {
    let [input, read, created, output] = [input, read, created, output].map(known);
    let usage = Usage::excluding_cached(input, read, created, output);
    completion.change(|end| {
        end.prompt_tokens = usage.prompt_tokens.unwrap_or(POINTSMAN_UNKNOWN);
        end.cached_tokens = usage.cached_tokens.unwrap_or(POINTSMAN_UNKNOWN);
        end.completion_tokens = usage.completion_tokens.unwrap_or(POINTSMAN_UNKNOWN);
    });
    Ok(())
}

impl pointsman_completion {
    /// Whether it says more than success and a time.
    #[inline(always)]
    pub(crate) fn says_more(&self) -> bool {
        const { assert!(POINTSMAN_OUTCOME_SUCCESS == 0 && POINTSMAN_UNKNOWN == !0) };
        let known = !(self.prompt_tokens & self.cached_tokens & self.completion_tokens);
        self.outcome | self.failed_role | known != 0
    }

    /// The outcome that a host may report.
    #[inline]
    pub(crate) fn outcome(&self) -> Result<Outcome, Failure> {
        Ok(match self.outcome {
            POINTSMAN_OUTCOME_SUCCESS => Outcome::Success,
            POINTSMAN_OUTCOME_CLIENT_CANCELLED => Outcome::ClientCancelled,
            POINTSMAN_OUTCOME_CLIENT_ERROR => Outcome::ClientError,
            POINTSMAN_OUTCOME_WORKER_ERROR => Outcome::WorkerError,
            POINTSMAN_OUTCOME_TIMEOUT => Outcome::Timeout,
            POINTSMAN_OUTCOME_OVERLOADED => {
                Outcome::Overloaded { retry_after: Duration::from_nanos(self.retry_after) }
            }
            _ => {
                let problem = "is no outcome that a host can tell";
                return Err(Failure::argument("completion.outcome", problem));
            }
        })
    }

    #[inline]
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: known(self.prompt_tokens),
            cached_tokens: known(self.cached_tokens),
            completion_tokens: known(self.completion_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_core() {
        for (name, core) in NAMES.iter().zip(Outcome::NAMES) {
            assert_eq!(name.to_str(), Ok(core));
        }
    }
}
