//! SMG's cache-aware rule (SGLang Model Gateway, `policies/cache_aware.rs`; its trees are the crate
//! `kv-index`).
//!
//! While outstanding requests are balanced, a prompt goes to the holder of its longest match if
//! that match is a large enough share of it, else to the least loaded worker; while they are not,
//! to the least loaded.
//!
//! Read into the description where it leaves room:
//! - load is the number of outstanding requests, from dispatch to the last token;
//! - the tree names one holder of the deepest matched node, however many workers hold it; `kv-index`
//!   remembers the first and lets later touches replace it now and then (1 in 16 per node in its
//!   token tree; here 1 in 8 per block; anything from 1 in 1 to 1 in 64 stays within the tolerances
//!   of the credibility check);
//! - the tree outlives the workers' caches: its size bound is far above theirs;
//! - ties for the least loaded are broken at random.

use super::{Baseline, RuleView, least};
use crate::sim::rng::Rng;

const NO_HOLDER: u32 = u32::MAX;

/// A node's remembered holder follows its last toucher once in so many touches.
const REFRESH_ONE_IN: usize = 8;

/// The rule's thresholds and its count of outstanding requests.
pub(crate) struct Threshold {
    cache_threshold: f64,
    absolute: f64,
    relative: f64,
    outstanding: Vec<u32>,
    holders: Vec<u32>,
}

impl Threshold {
    /// .5, 32 and 1.1: the router's own defaults, without its command line.
    pub(crate) fn new(workers: usize, ids: usize) -> Self {
        Self {
            cache_threshold: 0.5,
            absolute: 32.0,
            relative: 1.1,
            outstanding: vec![0; workers],
            holders: vec![NO_HOLDER; ids],
        }
    }

    fn load(&self, worker: usize) -> f64 {
        f64::from(self.outstanding[worker])
    }

    fn imbalanced(&self, eligible: &[usize]) -> bool {
        let loads = || eligible.iter().map(|&worker| self.load(worker));
        let most = loads().fold(0.0, f64::max);
        let fewest = loads().fold(f64::INFINITY, f64::min);
        most - fewest > self.absolute && most > self.relative * fewest
    }

    /// The holder of the longest match, if that is long enough and it may serve.
    fn holder(&self, view: &RuleView<'_>) -> Option<usize> {
        let known = |&&block: &&u32| self.holders[block as usize] != NO_HOLDER;
        let matched = view.blocks.iter().take_while(known).count();
        let tokens = matched as f64 * f64::from(view.block);
        let deepest = view.blocks.get(matched.checked_sub(1)?)?;
        let holder = self.holders[*deepest as usize] as usize;
        let long = tokens / f64::from(view.input) > self.cache_threshold;
        (long && view.eligible.contains(&holder)).then_some(holder)
    }
}

impl Baseline for Threshold {
    fn choose(&mut self, view: &RuleView<'_>, rng: &mut Rng) -> usize {
        let holder = if self.imbalanced(view.eligible) { None } else { self.holder(view) };
        let worker =
            holder.unwrap_or_else(|| least(view.eligible, rng, |worker| self.load(worker)));
        self.outstanding[worker] += 1;
        for &block in view.blocks {
            let holder = &mut self.holders[block as usize];
            if *holder == NO_HOLDER || rng.below(REFRESH_ONE_IN) == 0 {
                *holder = worker as u32;
            }
        }
        worker
    }

    fn ended(&mut self, _now: f64, _id: usize, worker: usize, _blocks: &[u32]) {
        self.outstanding[worker] = self.outstanding[worker].saturating_sub(1);
    }
}
