//! How both rules choose decode workers: by the KV tokens that they hold.

use crate::policy::decision::{Decision, RunnerUp};
use crate::policy::error::RoutingError;
use crate::policy::reason::Reason;
use crate::pool::{best::Best, candidates::Candidates};
use crate::random::Random;

/// The candidate whose requests in flight will hold the least KV tokens, each running
/// sequence counting `sequence_tokens` on top, per weight; among equals each as often as its weight says.
/// O(candidates).
pub(super) fn least_resident(
    candidates: &Candidates<'_>,
    sequence_tokens: u64,
    random: &Random,
) -> Result<Decision, RoutingError> {
    let mut best = Best::new(random);
    for candidate in candidates {
        let sequences = candidate.in_flight() as u64 * sequence_tokens;
        let score = (candidate.resident_tokens() + sequences) as f64 / candidate.weight();
        candidates.offer(&mut best, score, candidate);
    }
    let Some((score, chosen)) = best.first() else { return Err(candidates.none()) };
    Ok(Decision {
        score,
        runner_up: best.second().map(|(score, other)| RunnerUp { worker: other.id(), score }),
        ..Decision::new(chosen.id(), Reason::LeastResident)
    })
}
