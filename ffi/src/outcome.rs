//! What HTTP says about a worker, in the words of a completion.

use std::time::Duration;

use pointsman_core::Outcome;

use crate::argument::Output;
use crate::route::pointsman_completion;
use crate::status::{Failure, pointsman_status};

export! {
    /// Sets a completion's outcome and retry_after to what the status of an HTTP response says about
    /// the worker, for a response that came to its end; the completion's other fields stay.
    /// retry_after: the nanoseconds that its Retry-After header asks for, 0 if it has none.
    ///
    /// 429, and 503 with a retry_after, are POINTSMAN_OUTCOME_OVERLOADED, for 1 second where nothing is
    /// told and 300 seconds at most; 504 is POINTSMAN_OUTCOME_TIMEOUT; other 5xx are POINTSMAN_OUTCOME_WORKER_ERROR, other
    /// 4xx POINTSMAN_OUTCOME_CLIENT_ERROR, and all else is POINTSMAN_OUTCOME_SUCCESS. A response that
    /// never came or broke off has no status that counts: tell POINTSMAN_OUTCOME_WORKER_ERROR.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, also if http_status is not between 100 and 599.
    fn pointsman_outcome_of_http_status(
        http_status: u32,
        retry_after: u64,
        completion: *mut pointsman_completion,
    ) -> pointsman_status => of_http_status;
}

/// # Safety
/// See the export.
unsafe fn of_http_status(
    http_status: u32,
    retry_after: u64,
    completion: *mut pointsman_completion,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let output = unsafe { Output::new(completion, "completion") }?;
    let status = u16::try_from(http_status).ok().filter(|status| (100..=599).contains(status));
    let status = status.ok_or(Failure::argument("http_status", "is not between 100 and 599"))?;
    let told = Some(Duration::from_nanos(retry_after)).filter(|pause| !pause.is_zero());
    let outcome = Outcome::from_http_status(status, told);
    let pause = match outcome {
        Outcome::Overloaded { retry_after } => retry_after.as_nanos() as u64,
        _ => 0,
    };
    output.change(|end| {
        end.outcome = outcome.index() as u32;
        end.retry_after = pause;
    });
    Ok(())
}
