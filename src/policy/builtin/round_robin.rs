//! Round-robin: each eligible worker in turn, by weight.
//!
//! One shared counter per role, so that the prefill and the decode pool each rotate without skips.
//! Every position is claimed by exactly one request, so any run of `cycle_len` consecutive requests
//! serves each worker exactly its (quantised) weight, whatever the number of threads. O(1).

use crossbeam_utils::CachePadded;

use crate::policy::decision::Decision;
use crate::policy::error::RoutingError;
use crate::policy::reason::Reason;
use crate::policy::request_view::RequestView;
use crate::policy::routing_policy::RoutingPolicy;
use crate::pool::candidates::Candidates;
use crate::random::Random;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// From here on the counter is set back, at the end of a cycle, long before it could overflow.
const TURN: u64 = 1 << 62;

/// Chooses in rotation.
#[derive(Debug)]
pub struct RoundRobinPolicy {
    positions: [CachePadded<AtomicU64>; 3],
    /// For requests that rule out the worker whose turn it is.
    random: Random,
}

impl RoundRobinPolicy {
    /// Starts each role's rotation at its first worker.
    pub fn new(seed: Option<u64>) -> Self {
        Self::starting_at(0, seed)
    }

    /// Starts each role's rotation at this position, of which the highest bit is ignored.
    pub fn starting_at(position: u64, seed: Option<u64>) -> Self {
        // Below 2^63, the end of a cycle comes before the end of the counter.
        let position = position & (u64::MAX >> 1);
        RoundRobinPolicy {
            positions: std::array::from_fn(|_| CachePadded::new(AtomicU64::new(position))),
            random: Random::new(seed),
        }
    }

    /// Claims the next position. Relaxed: the counter orders nothing but itself, and the total order
    /// of its modifications is what makes every position belong to one request.
    #[inline]
    fn claim(&self, candidates: &Candidates<'_>) -> u64 {
        let counter = &self.positions[candidates.role().index()];
        let position = counter.fetch_add(1, Relaxed);
        if position >= TURN {
            turn_back(counter, position, candidates.cycle_len() as u64);
        }
        position
    }
}

/// Sets the counter back to 0 after a cycle's last position, so that the rotation goes on unbroken.
/// If other threads have drawn in the meantime, one of them finds its own position at a cycle's end.
#[cold]
fn turn_back(counter: &AtomicU64, position: u64, cycle: u64) {
    if cycle > 0 && position % cycle == cycle - 1 {
        let _ = counter.compare_exchange(position + 1, 0, Relaxed, Relaxed);
    }
}

impl RoutingPolicy for RoundRobinPolicy {
    fn name(&self) -> &str {
        "round_robin"
    }

    #[inline]
    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        match candidates.in_rotation(self.claim(candidates), &self.random) {
            Some(candidate) => Ok(Decision::new(candidate.id(), Reason::RoundRobin)),
            None => Err(candidates.none()),
        }
    }

    fn wants_events(&self) -> bool {
        false
    }

    fn after_fork(&self) {
        self.random.reseed();
    }
}
