//! Random: each eligible worker with a chance proportional to its weight.
//!
//! Needs no knowledge and no clock; spreads evenly in the long run, with fluctuations of the square
//! root of the load. O(1).

use crate::policy::decision::Decision;
use crate::policy::error::RoutingError;
use crate::policy::reason::Reason;
use crate::policy::request_view::RequestView;
use crate::policy::routing_policy::RoutingPolicy;
use crate::pool::candidates::Candidates;
use crate::random::Random;

/// Chooses at random, by weight.
#[derive(Debug)]
pub struct RandomPolicy {
    random: Random,
}

impl RandomPolicy {
    /// Seeded by `seed`, or by the operating system.
    pub fn new(seed: Option<u64>) -> Self {
        RandomPolicy { random: Random::new(seed) }
    }
}

impl RoutingPolicy for RandomPolicy {
    fn name(&self) -> &str {
        "random"
    }

    #[inline]
    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        match candidates.draw(&self.random) {
            Some(candidate) => Ok(Decision::new(candidate.id(), Reason::Random)),
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
