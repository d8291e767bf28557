//! Power of two choices: two candidates drawn at random, the one with the smaller load.
//!
//! M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001: the longest queue
//! grows with log log n instead of log n, at the cost of one more look. Requests are taken from the
//! workers' own reports when both have a fresh one, else from the router's in-flight counters for both,
//! so that unlike things are never compared. O(1).
//!
//! Weights decide how often a worker is drawn. So where all are idle, shares are the weights'; and as
//! loads are compared relative to weights as far as they grow with them
//! (`Candidate::relative_load`), shares stay near the weights' under load.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::decision::{Decision, RunnerUp};
use crate::policy::error::{ConfigError, RoutingError};
use crate::policy::reason::Reason;
use crate::policy::request_view::RequestView;
use crate::policy::routing_policy::RoutingPolicy;
use crate::pool::candidate::Candidate;
use crate::pool::candidates::Candidates;
use crate::random::Random;
use crate::range;
use crate::time::Time;

/// What can be set of the power-of-two policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object of the policy's options")]
#[non_exhaustive]
pub struct PowerOfTwoConfig {
    /// Seconds after which a worker's load report counts as missing; 0 ignores reports. Raise it to
    /// twice the interval at which the host polls its workers.
    pub max_report_age_secs: f64,
}

impl Default for PowerOfTwoConfig {
    fn default() -> Self {
        PowerOfTwoConfig { max_report_age_secs: 2.0 }
    }
}

impl PowerOfTwoConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let age = self.max_report_age_secs;
        range::check("power_of_two.max_report_age_secs", age, 0.0, 3600.0)?;
        Ok(())
    }
}

/// Chooses the less loaded of two.
#[derive(Debug)]
pub struct PowerOfTwoPolicy {
    /// Nanoseconds after which a load report counts as missing.
    max_report_age: u64,
    random: Random,
}

impl PowerOfTwoPolicy {
    /// A policy with these settings.
    pub fn new(config: &PowerOfTwoConfig, seed: Option<u64>) -> Self {
        let max_report_age = (config.max_report_age_secs * 1e9) as u64;
        PowerOfTwoPolicy { max_report_age, random: Random::new(seed) }
    }

    /// After a draw that hit a worker which is no candidate, or where there are not two.
    #[cold]
    fn select_again(
        &self,
        candidates: &Candidates<'_>,
        now: Time,
    ) -> Result<Decision, RoutingError> {
        match candidates.draw_two(&self.random) {
            Some((a, Some(b))) => Ok(self.lesser(&a, &b, now)),
            Some((only, None)) if candidates.iter().nth(1).is_none() => {
                Ok(Decision::new(only.id(), Reason::OnlyCandidate))
            }
            Some((twice, None)) => Ok(Decision {
                score: twice.in_flight() as f64 + 1.0,
                ..Decision::new(twice.id(), Reason::PowerOfTwo)
            }),
            None => Err(candidates.none()),
        }
    }

    #[inline(always)]
    fn lesser(&self, a: &Candidate<'_>, b: &Candidate<'_>, now: Time) -> Decision {
        let (load_a, load_b) = self.loads(a, b, now);
        // The pair comes in random order, so keeping the first of equals breaks ties at random.
        let (winner, score, loser, other) =
            if load_b < load_a { (b, load_b, a, load_a) } else { (a, load_a, b, load_b) };
        Decision {
            score,
            runner_up: Some(RunnerUp { worker: loser.id(), score: other }),
            ..Decision::new(winner.id(), Reason::PowerOfTwo)
        }
    }

    #[inline(always)]
    fn loads(&self, a: &Candidate<'_>, b: &Candidate<'_>, now: Time) -> (f64, f64) {
        let age = self.max_report_age;
        if age > 0 && a.is_reported(now, age) && b.is_reported(now, age) {
            if let Some(loads) = self.reported_loads(a, b, now) {
                return loads;
            }
        }
        compared(a, b, (a.in_flight(), b.in_flight()))
    }

    #[inline(never)]
    fn reported_loads(
        &self,
        a: &Candidate<'_>,
        b: &Candidate<'_>,
        now: Time,
    ) -> Option<(f64, f64)> {
        let load = |candidate: &Candidate<'_>| {
            let report = candidate.fresh_report(now, Duration::from_nanos(self.max_report_age))?;
            usize::try_from(report.requests()).ok()
        };
        load(a).zip(load(b)).map(|requests| compared(a, b, requests))
    }
}

/// What two candidates with so many requests compare by: requests + 1, made comparable where weights differ.
#[inline(always)]
fn compared(a: &Candidate<'_>, b: &Candidate<'_>, requests: (usize, usize)) -> (f64, f64) {
    // Signed, as that converts in one instruction; no worker has 2^63 requests.
    let plain = |requests: usize| requests as i64 as f64;
    let loads = if a.weight() == b.weight() {
        (plain(requests.0), plain(requests.1))
    } else {
        a.relative_loads(b, requests)
    };
    (loads.0 + 1.0, loads.1 + 1.0)
}

impl RoutingPolicy for PowerOfTwoPolicy {
    fn name(&self) -> &str {
        "power_of_two"
    }

    #[inline]
    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        // The usual case apart, so that its pair stays in registers.
        match candidates.probe_two(&self.random) {
            Some((a, b)) => Ok(self.lesser(&a, &b, request.now)),
            None => self.select_again(candidates, request.now),
        }
    }

    fn wants_events(&self) -> bool {
        false
    }

    fn after_fork(&self) {
        self.random.reseed();
    }
}
