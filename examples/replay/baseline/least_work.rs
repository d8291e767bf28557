//! The least-work rule as written, with its full state in plain numbers: the reference that the
//! library's lock-free form is compared with. With its weight on the work caused switched off it is
//! greedy estimated time to first token: the least of wait + work.

use std::collections::BTreeMap;

use super::{Baseline, RuleView, least};
use crate::sim::rng::Rng;

const OVERHEAD_TOKENS: f64 = 200.0;

#[derive(Clone)]
struct WorkerState {
    backlog: f64,
    pending: BTreeMap<u64, usize>,
    last_done: f64,
    reliability: f64,
}

#[derive(Clone, Copy, Default)]
struct Charge {
    order: u64,
    work: f64,
    predicted: f64,
    at: f64,
}

/// The rule's state.
pub(crate) struct LeastWork {
    workers: Vec<WorkerState>,
    charges: Vec<Option<Charge>>,
    busy_share: f64,
    mean_work: f64,
    drained: (f64, f64),
    order: u64,
    scores: Vec<f64>,
    greedy: bool,
}

impl LeastWork {
    /// Least wait + work, whatever the load.
    pub(crate) fn greedy(workers: usize, requests: usize) -> Self {
        Self { greedy: true, ..Self::new(workers, requests) }
    }

    pub(crate) fn new(workers: usize, requests: usize) -> Self {
        let worker = WorkerState {
            backlog: 0.0,
            pending: BTreeMap::new(),
            last_done: 0.0,
            reliability: 1.0,
        };
        Self {
            workers: vec![worker; workers],
            charges: vec![None; requests],
            busy_share: 0.3,
            mean_work: 1000.0,
            drained: (0.0, 0.0),
            order: 0,
            scores: vec![0.0; workers],
            greedy: false,
        }
    }

    fn drain_rate(&self) -> f64 {
        if self.drained.1 > 0.0 { self.drained.0 / self.drained.1 } else { 8000.0 }
    }

    fn saved(&self, view: &RuleView<'_>, worker: usize) -> f64 {
        (self.workers[worker].reliability * f64::from(view.resident(worker))).floor()
    }

    fn waiting(&self, now: f64, worker: usize) -> f64 {
        let state = &self.workers[worker];
        let head = state.pending.values().next().and_then(|&id| self.charges[id]);
        let Some(head) = head else { return state.backlog.max(0.0) };
        let done = (now - head.at.max(state.last_done)) * self.drain_rate();
        (state.backlog - done.min(0.95 * head.work)).max(0.0)
    }

    /// Takes the request out of the backlog.
    fn discharge(&mut self, id: usize, worker: usize) -> Option<Charge> {
        let charge = self.charges[id].take()?;
        let state = &mut self.workers[worker];
        state.pending.remove(&charge.order);
        state.backlog = if state.pending.is_empty() { 0.0 } else { state.backlog - charge.work };
        Some(charge)
    }

    /// Scores every eligible worker.
    pub(crate) fn score(&mut self, view: &RuleView<'_>) -> &[f64] {
        let busy = |&&worker: &&usize| !self.workers[worker].pending.is_empty();
        let share = view.eligible.iter().filter(busy).count() as f64 / view.eligible.len() as f64;
        self.busy_share += 0.005 * (share - self.busy_share);
        let odds = (self.busy_share / (1.0 - self.busy_share)).min(9.0);
        let kappa = if self.greedy { 0.0 } else { odds };
        for &worker in view.eligible {
            let work = f64::from(view.input) - self.saved(view, worker) + OVERHEAD_TOKENS;
            let weight = 1.0 + kappa / 2.0 * work / self.mean_work.max(1.0);
            self.scores[worker] = (self.waiting(view.now, worker) + work) * weight;
        }
        &self.scores
    }

    /// Puts the request's work on a worker.
    pub(crate) fn charge(&mut self, view: &RuleView<'_>, worker: usize) {
        let predicted = self.saved(view, worker);
        let work = f64::from(view.input) - predicted + OVERHEAD_TOKENS;
        self.mean_work += 0.01 * (work - self.mean_work);
        self.order += 1;
        let state = &mut self.workers[worker];
        state.backlog += work;
        state.pending.insert(self.order, view.id);
        let charge = Charge { order: self.order, work, predicted, at: view.now };
        self.charges[view.id] = Some(charge);
    }
}

impl Baseline for LeastWork {
    fn choose(&mut self, view: &RuleView<'_>, rng: &mut Rng) -> usize {
        self.score(view);
        let worker = least(view.eligible, rng, |worker| self.scores[worker]);
        self.charge(view, worker);
        worker
    }

    fn first_token(&mut self, now: f64, id: usize, worker: usize, cached: u32) {
        let Some(charge) = self.discharge(id, worker) else { return };
        let state = &mut self.workers[worker];
        let seconds = now - charge.at.max(state.last_done);
        if seconds > 0.0 {
            self.drained.0 = self.drained.0 * 0.99 + charge.work;
            self.drained.1 = self.drained.1 * 0.99 + seconds;
        }
        state.last_done = now;
        let predicted = charge.predicted / state.reliability.max(0.05);
        if predicted > 0.0 {
            let kept = (f64::from(cached) / predicted).min(1.0);
            state.reliability += 0.03 * (kept - state.reliability);
        }
    }

    fn ended(&mut self, _now: f64, id: usize, worker: usize, _blocks: &[u32]) {
        self.discharge(id, worker);
    }
}
