//! llm-d's weighted scorers (Gateway API Inference Extension, `pkg/epp/scheduling/framework`), with
//! the weights of llm-d's default profile: queue 2, KV-cache utilisation 2, prefix 3; the highest
//! sum wins, ties at random. Queue and utilisation come from scraped metrics, every 50 ms.

use super::{Baseline, RuleView, least};
use crate::gateway::Report;
use crate::sim::rng::Rng;

/// Seconds between two scrapes.
pub(crate) const SCRAPE_INTERVAL: f64 = 0.05;

const QUEUE_WEIGHT: f64 = 2.0;
const UTILISATION_WEIGHT: f64 = 2.0;
const PREFIX_WEIGHT: f64 = 3.0;

/// The last scraped metrics.
pub(crate) struct Scorers {
    waiting: Vec<f64>,
    utilisation: Vec<f64>,
}

impl Scorers {
    pub(crate) fn new(workers: usize) -> Self {
        Self { waiting: vec![0.0; workers], utilisation: vec![0.0; workers] }
    }
}

/// 1 for the shortest queue, 0 for the longest, 1 for all when they are equal.
pub(crate) fn queue_score(waiting: f64, shortest: f64, longest: f64) -> f64 {
    if longest > shortest { (longest - waiting) / (longest - shortest) } else { 1.0 }
}

impl Baseline for Scorers {
    fn choose(&mut self, view: &RuleView<'_>, rng: &mut Rng) -> usize {
        let queues = || view.eligible.iter().map(|&worker| self.waiting[worker]);
        let shortest = queues().fold(f64::INFINITY, f64::min);
        let longest = queues().fold(0.0, f64::max);
        let blocks = view.blocks.len().max(1) as f64;
        least(view.eligible, rng, |worker| {
            let queue = queue_score(self.waiting[worker], shortest, longest);
            let room = 1.0 - self.utilisation[worker];
            let prefix = view.leading[worker] as f64 / blocks;
            -(QUEUE_WEIGHT * queue + UTILISATION_WEIGHT * room + PREFIX_WEIGHT * prefix)
        })
    }

    fn reported(&mut self, worker: usize, report: &Report) {
        let total = report.kv_total_tokens.max(1) as f64;
        self.waiting[worker] = f64::from(report.waiting);
        self.utilisation[worker] = (report.kv_used_tokens as f64 / total).min(1.0);
    }
}
