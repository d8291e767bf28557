//! NVIDIA Dynamo's cost (`dynamo-kv-router` 1.6.1, `scheduling/selector/reference.rs`) with its
//! defaults: overlap credit 1, no decay of the credit, prefill scale 1, temperature 0.
//!
//! cost = max(0, (prefill tokens under way + prompt) / block - overlap) + distinct blocks active
//! there if this request came.

use super::{Baseline, RuleView, least};
use crate::sim::rng::Rng;

/// Active tokens and blocks per worker.
pub(crate) struct Dynamo {
    credit: f64,
    prefilling: Vec<f64>,
    active: Vec<ActiveBlocks>,
    charged: Vec<f64>,
}

#[derive(Clone)]
struct ActiveBlocks {
    references: Vec<u32>,
    distinct: usize,
}

impl Dynamo {
    pub(crate) fn new(workers: usize, ids: usize, requests: usize) -> Self {
        let idle = ActiveBlocks { references: vec![0; ids], distinct: 0 };
        Self {
            credit: 1.0,
            prefilling: vec![0.0; workers],
            active: vec![idle; workers],
            charged: vec![0.0; requests],
        }
    }

    fn discharge(&mut self, id: usize, worker: usize) {
        let charged = std::mem::take(&mut self.charged[id]);
        self.prefilling[worker] = (self.prefilling[worker] - charged).max(0.0);
    }
}

/// The cost in blocks.
pub(crate) fn cost(
    prefilling: f64,
    prompt: f64,
    block: f64,
    credited: f64,
    decode_blocks: f64,
) -> f64 {
    ((prefilling + prompt) / block - credited).max(0.0) + decode_blocks
}

impl Baseline for Dynamo {
    fn choose(&mut self, view: &RuleView<'_>, rng: &mut Rng) -> usize {
        let (prompt, block) = (f64::from(view.input), f64::from(view.block));
        let worker = least(view.eligible, rng, |worker| {
            let active = &self.active[worker];
            let fresh = |&&id: &&u32| active.references[id as usize] == 0;
            let decode = active.distinct + view.blocks.iter().filter(fresh).count();
            let credited = self.credit * view.leading[worker] as f64;
            cost(self.prefilling[worker], prompt, block, credited, decode as f64)
        });
        let uncached = prompt - f64::from(view.resident(worker));
        self.prefilling[worker] += uncached;
        self.charged[view.id] = uncached;
        let active = &mut self.active[worker];
        for &id in view.blocks {
            active.references[id as usize] += 1;
            active.distinct += usize::from(active.references[id as usize] == 1);
        }
        worker
    }

    fn first_token(&mut self, _now: f64, id: usize, worker: usize, _cached: u32) {
        self.discharge(id, worker);
    }

    fn ended(&mut self, _now: f64, id: usize, worker: usize, blocks: &[u32]) {
        self.discharge(id, worker);
        let active = &mut self.active[worker];
        for &id in blocks {
            active.references[id as usize] -= 1;
            active.distinct -= usize::from(active.references[id as usize] == 0);
        }
    }
}
