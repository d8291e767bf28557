//! The gateway around a rule: prefix knowledge from the router's own choices, live workers.

use super::{Baseline, RuleView, least};
use crate::gateway::{Ending, Gateway, Report, Route};
use crate::sim::fleet::{Fleet, Stage};
use crate::sim::lru::BlockCache;
use crate::sim::rng::Rng;
use crate::trace::Trace;

/// A rule as a gateway.
pub(crate) struct Shell<'a, B> {
    trace: &'a Trace,
    rule: B,
    rng: Rng,
    alive: Vec<bool>,
    beliefs: Vec<BlockCache>,
    prefill: Vec<usize>,
    decode: Vec<usize>,
    decoding: Vec<u32>,
    routed: Vec<Option<Route>>,
    eligible: Vec<usize>,
    leading: Vec<usize>,
}

impl<'a, B: Baseline> Shell<'a, B> {
    /// The router believes a worker to hold as many blocks as its cache does, least recently sent
    /// forgotten first. In a split fleet the rule chooses the prefill worker, and the decode worker
    /// is the one with the fewest requests.
    pub(crate) fn new(trace: &'a Trace, fleet: &Fleet, rule: B, seed: u64) -> Self {
        let workers = &fleet.workers;
        let prefill = |&index: &usize| workers[index].stage != Stage::Decode;
        let decode = |&index: &usize| workers[index].stage == Stage::Decode;
        Self {
            trace,
            rule,
            rng: Rng::new(seed),
            alive: workers.iter().map(|worker| worker.present).collect(),
            beliefs: workers.iter().map(|w| BlockCache::new(w.capacity, trace.ids)).collect(),
            prefill: (0..workers.len()).filter(prefill).collect(),
            decode: (0..workers.len()).filter(decode).collect(),
            decoding: vec![0; workers.len()],
            routed: vec![None; trace.requests.len()],
            eligible: Vec::with_capacity(workers.len()),
            leading: vec![0; workers.len()],
        }
    }

    fn decode_worker(&mut self, excluded: &[usize]) -> Option<usize> {
        let alive = &self.alive;
        let usable = |worker: &usize| alive[*worker] && !excluded.contains(worker);
        let eligible: Vec<usize> = self.decode.iter().copied().filter(usable).collect();
        if eligible.is_empty() {
            return None;
        }
        Some(least(&eligible, &mut self.rng, |worker| f64::from(self.decoding[worker])))
    }
}

impl<B: Baseline> Gateway for Shell<'_, B> {
    fn route(&mut self, now: f64, id: usize, excluded: &[usize]) -> Option<Route> {
        let blocks = self.trace.input_blocks(id);
        let decode = self.decode_worker(excluded);
        if decode.is_none() && !self.decode.is_empty() {
            return None;
        }
        let alive = &self.alive;
        let usable = |worker: &usize| alive[*worker] && !excluded.contains(worker);
        self.eligible.clear();
        self.eligible.extend(self.prefill.iter().copied().filter(usable));
        if self.eligible.is_empty() {
            return None;
        }
        for (leading, belief) in self.leading.iter_mut().zip(&self.beliefs) {
            *leading = belief.leading(blocks);
        }
        let view = RuleView {
            id,
            now,
            input: self.trace.requests[id].input,
            block: self.trace.block,
            blocks,
            eligible: &self.eligible,
            leading: &self.leading,
        };
        let worker = self.rule.choose(&view, &mut self.rng);
        self.beliefs[worker].touch(blocks);
        let route = Route { worker, decode };
        self.routed[id] = Some(route);
        if let Some(decode) = decode {
            self.decoding[decode] += 1;
        }
        Some(route)
    }

    fn first_token(&mut self, now: f64, id: usize, cached: u32) {
        if let Some(route) = self.routed[id] {
            self.rule.first_token(now, id, route.worker, cached);
        }
    }

    fn ended(&mut self, now: f64, id: usize, _ending: Ending, _cached: u32) {
        let Some(Route { worker, decode }) = self.routed[id].take() else { return };
        self.rule.ended(now, id, worker, self.trace.input_blocks(id));
        if let Some(decode) = decode {
            self.decoding[decode] = self.decoding[decode].saturating_sub(1);
        }
    }

    fn probed(&mut self, _now: f64, worker: usize, up: bool) {
        self.alive[worker] = up;
        if !up {
            self.beliefs[worker].clear();
        }
    }

    fn reported(&mut self, _now: f64, worker: usize, report: &Report) {
        self.rule.reported(worker, report);
    }
}
