//! The threshold rule: the longest match while loads are balanced, the least loaded otherwise.
//!
//! The rule of SGLang's gateway, kept for drop-in behaviour. Loads are out of balance when
//! max - min > `balance_abs_threshold` and max > `balance_rel_threshold` * min, over the eligible
//! workers' requests in flight. While they are balanced, the worker with the longest match gets the
//! request if more than `cache_threshold` of the prompt matches; else the least loaded.

use serde::{Deserialize, Serialize};

use super::{decode, rendezvous};
use crate::policy::decision::{Decision, RunnerUp};
use crate::policy::error::{ConfigError, RoutingError};
use crate::policy::reason::Reason;
use crate::policy::request_view::RequestView;
use crate::policy::routing_policy::RoutingPolicy;
use crate::pool::best::Best;
use crate::pool::candidate::Candidate;
use crate::pool::candidates::{Candidates, Extremes};
use crate::random::Random;
use crate::range;
use crate::worker::Role;

/// Decode load of a running sequence, in KV tokens, on top of its own.
const SEQUENCE_TOKENS: u64 = 4000;

/// What can be set of the threshold rule. Defaults are those of the SGLang gateway's command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ThresholdConfig {
    /// Share of the prompt that must match for the match to decide, 0 to 1. Raise it if workers
    /// with short matches draw too many requests.
    pub cache_threshold: f32,
    /// Difference of the extreme loads, in requests, that counts as balanced. Lower it if one worker
    /// runs hot before the rule reacts.
    pub balance_abs_threshold: usize,
    /// Ratio of the extreme loads that counts as balanced, at least 1.
    pub balance_rel_threshold: f32,
    /// Refused: the tree evicts as it inserts; set `tree.budget_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eviction_interval_secs: Option<u64>,
    /// Refused: set `tree.budget_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tree_size: Option<usize>,
}

impl Default for ThresholdConfig {
    fn default() -> Self {
        ThresholdConfig {
            cache_threshold: 0.3,
            balance_abs_threshold: 64,
            balance_rel_threshold: 1.5,
            eviction_interval_secs: None,
            max_tree_size: None,
        }
    }
}

impl ThresholdConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.eviction_interval_secs.is_some() {
            return Err(ConfigError::Refused {
                field: "eviction_interval_secs",
                instead: "the tree evicts as it inserts, within tree.budget_bytes",
            });
        }
        if self.max_tree_size.is_some() {
            return Err(ConfigError::Refused {
                field: "max_tree_size",
                instead: "the tree's size is bounded in bytes: set tree.budget_bytes",
            });
        }
        range::check("threshold.cache_threshold", self.cache_threshold.into(), 0.0, 1.0)?;
        let rel = f64::from(self.balance_rel_threshold);
        range::check("threshold.balance_rel_threshold", rel, 1.0, 1e6)?;
        Ok(())
    }
}

/// Cache-aware by the threshold rule.
#[derive(Debug)]
pub struct ThresholdPolicy {
    config: ThresholdConfig,
    random: Random,
}

impl ThresholdPolicy {
    /// A policy with these settings.
    pub fn new(config: ThresholdConfig, seed: Option<u64>) -> Self {
        ThresholdPolicy { config, random: Random::new(seed) }
    }

    fn is_imbalanced(&self, loads: &Extremes<'_>) -> bool {
        loads.max - loads.min > self.config.balance_abs_threshold
            && loads.max as f32 > self.config.balance_rel_threshold * loads.min as f32
    }
}

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

impl RoutingPolicy for ThresholdPolicy {
    fn name(&self) -> &str {
        "cache_aware"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        if candidates.role() == Role::Decode {
            return decode::least_resident(candidates, SEQUENCE_TOKENS, &self.random);
        }
        let Some(loads) = candidates.extremes(&self.random) else {
            return Err(candidates.none());
        };
        let by_load = |reason| Decision {
            score: loads.least.load_per_weight(),
            ..Decision::new(loads.least.id(), reason)
        };
        if self.is_imbalanced(&loads) {
            return Ok(by_load(Reason::Imbalanced));
        }
        let found = longest_match(candidates, request, &self.random).zip(request.prefix);
        let matched = found.map(|((worker, blocks), prefix)| {
            (worker, prefix.tokens(blocks).min(request.prompt_tokens))
        });
        if let Some((worker, tokens)) = matched {
            if tokens as f32 > self.config.cache_threshold * request.prompt_tokens as f32 {
                let other = &loads.least;
                return Ok(Decision {
                    matched_tokens: tokens,
                    score: worker.load_per_weight(),
                    runner_up: (other.slot() != worker.slot())
                        .then(|| RunnerUp { worker: other.id(), score: other.load_per_weight() }),
                    ..Decision::new(worker.id(), Reason::PrefixMatch)
                });
            }
        }
        let by_key = request.routing_key.and_then(|key| rendezvous::unless_loaded(candidates, key));
        Ok(match by_key {
            Some(worker) => Decision::new(worker.id(), Reason::RoutingKey),
            None => by_load(Reason::LeastLoaded),
        })
    }

    fn wants_prefix(&self) -> bool {
        true
    }

    fn wants_events(&self) -> bool {
        false
    }

    fn after_fork(&self) {
        self.random.reseed();
    }
}
