//! From how a stream went to what it says about the worker.

use std::time::Duration;

use pointsman::Outcome;

/// How a stream went, as the filter saw it.
#[derive(Clone, Copy, Debug, Default)]
pub struct End<'a> {
    /// The response's status; 0 where there was no response.
    pub status: u16,
    /// Seconds that the response's `retry-after` asks for.
    pub retry_after: Option<u64>,
    /// Whether Envoy made the response.
    pub local: bool,
    /// Whether the response ended as it should.
    pub finished: bool,
    /// What Envoy says about it: the "response code details".
    pub details: &'a [u8],
}

impl End<'_> {
    /// What it says about the worker that had the request last.
    pub fn outcome(&self) -> Outcome {
        if self.local || !self.finished {
            return self.broken();
        }
        Outcome::from_http_status(self.status, self.retry_after.map(Duration::from_secs))
    }

    /// The response is Envoy's own, or broke off: the details tell the worker's fault from the client's leaving
    /// and from limits of Envoy's own.
    fn broken(&self) -> Outcome {
        let details = self.details;
        let has = |part: &[u8]| details.windows(part.len()).any(|window| window == part);
        let upstream = details.starts_with(b"upstream_");
        if details == b"response_timeout" || upstream && (has(b"timeout") || has(b"duration")) {
            Outcome::Timeout
        } else if upstream && !has(b"{overflow") {
            Outcome::WorkerError
        } else {
            Outcome::ClientCancelled
        }
    }
}
