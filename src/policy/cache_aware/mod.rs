//! Cache-aware: the worker that already holds the prompt's prefix, unless another is better.
//!
//! One policy, two rules:
//!
//! - [`least_work`], the default: per worker, the prompt tokens that this request would wait for and
//!   cause; the least wins.
//! - [`threshold`]: SGLang's rule. Longest match while loads are balanced, least loaded otherwise.
//! - [`formula`]: the arithmetic of `least_work`, without state.
//! - [`rendezvous`]: where a request goes that has a routing key and no usable prefix.

mod estimates;
pub mod formula;
pub mod least_work;
pub mod rendezvous;
mod row;
pub mod threshold;

use crate::policy::error::RoutingError;
use crate::policy::{Decision, Reason, RequestView, RunnerUp};
use crate::pool::candidates::{Best, Candidate, Candidates};
use crate::random::Random;

/// The candidate that holds the longest part of the prompt, with its leading blocks; ties at random.
/// `None` if no candidate holds a block. O(holders).
fn longest_match<'a>(
    candidates: &Candidates<'a>,
    request: &RequestView<'_>,
    random: &Random,
) -> Option<(Candidate<'a>, u32)> {
    request.prefix?.holders(|holders| {
        let mut best = Best::new(random);
        for holder in holders {
            if let Some(candidate) = candidates.get(holder.slot.into()) {
                best.offer(-f64::from(holder.blocks), (candidate, holder.blocks));
            }
        }
        best.first().map(|(_, found)| found)
    })
}

/// Decode: the candidate whose requests in flight will hold the least KV tokens, each running
/// sequence counting `sequence_tokens` on top, per weight; ties at random. O(candidates).
fn least_resident(
    candidates: &Candidates<'_>,
    sequence_tokens: u64,
    random: &Random,
) -> Result<Decision, RoutingError> {
    let mut best = Best::new(random);
    for candidate in candidates.iter() {
        let sequences = candidate.in_flight() as u64 * sequence_tokens;
        let score = (candidate.resident_tokens() + sequences) as f64 / candidate.weight();
        best.offer(score, candidate);
    }
    let Some((score, chosen)) = best.first() else { return Err(candidates.none()) };
    Ok(Decision {
        score,
        runner_up: best.second().map(|(score, other)| RunnerUp { worker: other.id(), score }),
        ..Decision::new(chosen.id(), Reason::LeastResident)
    })
}
