//! Refusals that are the worker's fault and not the client's.
//!
//! A worker that answers 400 to everything has few requests in flight, so it would get more of them than any other. One
//! that has refused several requests in a row has its next refusal looked at by another worker: where that one takes
//! the request, the first has failed; where it refuses, too, the client is wrong.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::response::Response;
use pointsman::{Role, WorkerId};

use super::exchange::Begun;
use super::metrics::InFlight;
use super::relay::{self, Duty};

/// Refusals in a row that are taken for the client's fault.
const BELIEVED: u32 = 3;

/// How many requests in a row each worker has refused.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<WorkerId, u32>>);

impl Refusals {
    /// The worker has refused a request; whether another one should be asked.
    fn refused(&self, worker: WorkerId) -> bool {
        let mut rows = self.rows();
        let row = rows.entry(worker).or_default();
        *row = row.saturating_add(1);
        *row > BELIEVED
    }

    /// The worker has taken a request, or another one has refused the same.
    fn cleared(&self, worker: WorkerId) {
        self.rows().remove(&worker);
    }

    /// Forgets workers that are gone.
    pub(crate) fn keep(&self, there: impl Fn(WorkerId) -> bool) {
        self.rows().retain(|&worker, _| there(worker));
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<WorkerId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that has begun, which may be a refusal that another worker is to look at.
pub(crate) struct Doubted {
    /// The worker that gives it, in this role.
    pub(crate) worker: WorkerId,
    pub(crate) role: Role,
    pub(crate) url: String,
    pub(crate) duty: Duty,
    pub(crate) begun: Begun,
}

impl Doubted {
    /// The answer that goes to the client, or nothing: it is in `doubted` now, and another worker is to be asked. What
    /// was in there before is judged by this answer.
    pub(crate) fn settle(self, refusals: &Refusals, doubted: &mut Option<Doubted>) -> Option<Self> {
        let refused = self.begun.is_refused();
        match doubted.take() {
            None if refused && refusals.refused(self.worker) => {
                *doubted = Some(self);
                return None;
            }
            Some(first) if refused => refusals.cleared(first.worker),
            Some(first) => first.duty.fail(first.role),
            None => {}
        }
        if !refused {
            refusals.cleared(self.worker);
        }
        Some(self)
    }

    /// Passes it on.
    pub(crate) fn relay(self, in_flight: InFlight) -> Response {
        relay::response(self.begun, &self.url, self.duty, in_flight)
    }
}
