//! One worker, as a policy sees it.

use std::time::Duration;

use super::{
    loads::Load,
    snapshot::{PoolSnapshot, Seat},
};
use crate::time::Time;
use crate::worker::{WorkerId, report::LoadReport, spec::WorkerInfo, state::WorkerState};

/// Requests that count as few: see [`Candidate::relative_load`].
const FEW: f64 = 3.0;

/// One worker that may be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    id: WorkerId,
    seat: &'a Seat,
    load: Load<'a>,
    pool: &'a PoolSnapshot,
}

impl<'a> Candidate<'a> {
    #[inline(always)]
    pub(super) fn new(
        id: WorkerId,
        seat: &'a Seat,
        load: Load<'a>,
        pool: &'a PoolSnapshot,
    ) -> Self {
        Candidate { id, seat, load, pool }
    }

    /// The worker's slot: a small index to keep per-worker knowledge under.
    #[inline]
    pub fn slot(&self) -> usize {
        self.id.slot()
    }

    /// The worker's identity.
    #[inline]
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// What the worker was registered as.
    pub fn info(&self) -> Option<&'a WorkerInfo> {
        self.pool.info(self.slot()).map(|info| &**info)
    }

    /// The weight in force: as configured, ramped up by slow start, lowered while overloaded.
    #[inline]
    pub fn weight(&self) -> f64 {
        self.seat.weight
    }

    /// Keyed digest of the worker's URL, for rendezvous hashing: equal in routers that share the key.
    #[inline]
    pub fn url_digest(&self) -> u64 {
        self.seat.url_digest
    }

    /// Requests in flight, as this router counts them.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.load.in_flight(self.slot())
    }

    /// How much load so many requests are to this worker, beside workers that have `per_weight` requests per
    /// weight.
    ///
    /// How many requests are with a worker that computes one at a time depends on its utilisation alone, not
    /// on its speed; with one that computes many at once, on its weight as well. So requests are taken relative
    /// to a constant of three and to the share that the worker's weight gives it of all: few compare as they
    /// are, many by weight. Idle workers are equal, whatever they weigh.
    pub(crate) fn relative_load(&self, requests: usize, per_weight: f64) -> f64 {
        requests as f64 / (FEW + self.seat.weight * per_weight)
    }

    /// The loads of two workers with so many requests each, beside each other; if their weights are equal,
    /// the numbers of requests.
    #[inline(never)]
    pub(crate) fn relative_loads(&self, other: &Self, requests: (usize, usize)) -> (f64, f64) {
        let (both, weights) = (requests.0 + requests.1, self.weight() + other.weight());
        let (per_weight, scale) = (both as f64 / weights, FEW + both as f64 / 2.0);
        let load = |worker: &Self, requests| scale * worker.relative_load(requests, per_weight);
        (load(self, requests.0), load(other, requests.1))
    }

    /// (in-flight + 1) / weight.
    #[inline]
    pub fn load_per_weight(&self) -> f64 {
        // Signed, as that converts in one instruction; no worker has 2^63 requests.
        let load = (self.in_flight() as i64 + 1) as f64;
        if self.seat.weight == 1.0 { load } else { divided(load, self.seat.weight) }
    }

    /// KV tokens that the requests in flight are expected to hold at their end.
    pub fn resident_tokens(&self) -> u64 {
        self.load.resident_tokens(self.slot())
    }

    /// The last load report if it is at most this old. Missing is missing, not 0.
    pub fn fresh_report(&self, now: Time, max_age: Duration) -> Option<LoadReport> {
        self.state()?.report().filter(|report| now.abs_diff(report.at) <= max_age)
    }

    /// Whether [`Candidate::fresh_report`] is likely to have one: a look at what choosing reads anyway.
    #[inline]
    pub(crate) fn is_reported(&self, now: Time, max_age: u64) -> bool {
        self.state().is_some_and(|state| state.is_reported(now.as_nanos(), max_age))
    }

    #[inline]
    fn state(&self) -> Option<&'a WorkerState> {
        self.load.state(self.slot())
    }
}

// Out of line: in most pools all weights are equal, and the division, which the processor would begin
// in advance, takes as long as all the rest.
#[cold]
#[inline(never)]
fn divided(load: f64, weight: f64) -> f64 {
    load / weight
}
