//! Routing rules to compare with, each in its own file with its source named.
//!
//! - `threshold`: SMG's cache-aware rule, a longest match under thresholds.
//! - `dynamo`: NVIDIA Dynamo's cost, prefill plus decode blocks.
//! - `scorers`: llm-d's weighted scorers over scraped metrics.
//! - `least_work`: the least-work rule as written, and greedy estimated time to first token.
//!
//! `shell` wraps a rule into a gateway: it keeps what the router knows of prefixes and of live
//! workers, so that a rule is its formula and its own bookkeeping.

pub(crate) mod dynamo;
pub(crate) mod least_work;
pub(crate) mod scorers;
pub(crate) mod shell;
pub(crate) mod threshold;

use crate::gateway::Report;
use crate::sim::rng::Rng;

/// What a rule sees of one request.
pub(crate) struct RuleView<'a> {
    /// The request's index.
    pub(crate) id: usize,
    /// Seconds.
    pub(crate) now: f64,
    /// Prompt tokens.
    pub(crate) input: u32,
    /// Tokens per block.
    pub(crate) block: u32,
    /// Full blocks of the prompt.
    pub(crate) blocks: &'a [u32],
    /// Workers to choose from, never empty.
    pub(crate) eligible: &'a [usize],
    /// Per worker: leading blocks that it holds, as far as the router knows.
    pub(crate) leading: &'a [usize],
}

impl RuleView<'_> {
    /// Prompt tokens that `worker` is believed to hold, at most all but the last.
    pub(crate) fn resident(&self, worker: usize) -> u32 {
        crate::sim::oracle::saved(self.leading[worker], self.block, self.input)
    }
}

/// A routing rule.
pub(crate) trait Baseline {
    /// Chooses among `view.eligible` and charges the choice.
    fn choose(&mut self, view: &RuleView<'_>, rng: &mut Rng) -> usize;

    /// The first token came; the engine had `cached` prompt tokens.
    fn first_token(&mut self, _now: f64, _id: usize, _worker: usize, _cached: u32) {}

    /// The request is over, with or without a first token.
    fn ended(&mut self, _now: f64, _id: usize, _worker: usize, _blocks: &[u32]) {}

    /// The worker's metrics were scraped.
    fn reported(&mut self, _worker: usize, _report: &Report) {}
}

/// The least of `eligible` by `key`, ties at random.
pub(crate) fn least(eligible: &[usize], rng: &mut Rng, key: impl Fn(usize) -> f64) -> usize {
    let (mut best, mut chosen, mut ties) = (f64::INFINITY, eligible[0], 0);
    for &worker in eligible {
        let value = key(worker);
        if value < best {
            (best, chosen, ties) = (value, worker, 1);
        } else if value == best {
            ties += 1;
            if rng.below(ties) == 0 {
                chosen = worker;
            }
        }
    }
    chosen
}
