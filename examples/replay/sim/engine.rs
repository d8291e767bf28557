//! The event loop: arrivals, routing, prefill, transfer, decode, and what happens to workers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Instant;
use super::fleet::{Change, Fleet, Stage};
use super::oracle::saved;
use super::outcome::{Run, Served};
use super::rng::Rng;
use super::worker::Worker;
use crate::gateway::{Ending, Gateway, Report, Route};
use crate::trace::Trace;

/// A request goes to this many workers at most before it counts as failed.
const ATTEMPTS: u32 = 3;
/// Samples of each worker's queue over a run.
const TIMELINE_SAMPLES: f64 = 600.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(usize),
    PrefillEnd { worker: usize, life: u64 },
    Transferred { job: usize, attempt: u32 },
    DecodeEnd { worker: usize, version: u64 },
    Heard { job: usize, attempt: u32 },
    Change(usize),
    Probe { worker: usize, up: bool },
    Report,
    Sample,
}

#[derive(Clone, Default)]
struct Job {
    gateway: usize,
    prefill: usize,
    decode: usize,
    attempt: u32,
    excluded: Vec<usize>,
    cached: u32,
    hits: usize,
    fresh: usize,
    first_token: Option<f64>,
    open: bool,
}

/// Runs `trace`, whose request `i` arrives at `arrivals[i]`, through `fleet`. Requests are spread
/// over the gateways at random.
pub(crate) fn run(
    trace: &Trace,
    fleet: &Fleet,
    arrivals: &[f64],
    gateways: &mut [Box<dyn Gateway + '_>],
    seed: u64,
) -> Run {
    let mut simulation = Simulation::new(trace, fleet, arrivals, seed);
    simulation.schedule_all(arrivals);
    simulation.run(gateways);
    Run {
        served: simulation.served,
        busy: simulation.workers.iter().map(|worker| worker.busy).collect(),
        timeline: simulation.timeline,
    }
}

struct Simulation<'a> {
    trace: &'a Trace,
    fleet: &'a Fleet,
    workers: Vec<Worker>,
    jobs: Vec<Job>,
    served: Vec<Served>,
    followers: Vec<Vec<usize>>,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    sequence: u64,
    left: usize,
    sample_every: f64,
    timeline: Vec<Vec<(f64, f64)>>,
    rng: Rng,
}

impl<'a> Simulation<'a> {
    fn new(trace: &'a Trace, fleet: &'a Fleet, arrivals: &[f64], seed: u64) -> Self {
        let count = trace.requests.len();
        let model = |worker: &super::fleet::WorkerModel| Worker::new(worker.clone(), trace.ids);
        let end = arrivals.iter().copied().fold(0.0, f64::max);
        Self {
            trace,
            fleet,
            workers: fleet.workers.iter().map(model).collect(),
            jobs: vec![Job::default(); count],
            served: vec![Served { first_token: f64::INFINITY, ..Served::default() }; count],
            followers: vec![Vec::new(); count],
            events: BinaryHeap::with_capacity(count * 2),
            sequence: 0,
            left: count,
            sample_every: (end / TIMELINE_SAMPLES).max(1e-3),
            timeline: vec![Vec::new(); fleet.workers.len()],
            rng: Rng::new(seed ^ 0x51e7),
        }
    }

    fn schedule_all(&mut self, arrivals: &[f64]) {
        for (job, request) in self.trace.requests.iter().enumerate() {
            match request.after {
                Some(first) => self.followers[first].push(job),
                None => self.at(arrivals[job], Event::Arrive(job)),
            }
        }
        for (index, &(time, ..)) in self.fleet.changes.iter().enumerate() {
            self.at(time, Event::Change(index));
        }
        if self.fleet.report_every > 0.0 {
            self.at(self.fleet.report_every, Event::Report);
        }
        self.at(0.0, Event::Sample);
    }

    fn at(&mut self, time: f64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((Instant(time), self.sequence, event)));
    }

    fn run(&mut self, gateways: &mut [Box<dyn Gateway + '_>]) {
        while let Some(Reverse((Instant(now), _, event))) = self.events.pop() {
            if self.left == 0 {
                break;
            }
            match event {
                Event::Arrive(job) => {
                    self.jobs[job].gateway = match gateways.len() {
                        1 => 0,
                        many => self.rng.below(many),
                    };
                    self.served[job].arrival = now;
                    self.dispatch(now, job, gateways);
                }
                Event::PrefillEnd { worker, life } if self.workers[worker].life == life => {
                    self.prefill_end(now, worker, gateways);
                }
                Event::Transferred { job, attempt } if self.jobs[job].attempt == attempt => {
                    self.transferred(now, job, gateways);
                }
                Event::DecodeEnd { worker, version }
                    if self.workers[worker].batch_version == version =>
                {
                    self.decode_end(now, worker, gateways);
                }
                Event::Heard { job, attempt } if self.jobs[job].attempt == attempt => {
                    self.heard(now, job, gateways);
                }
                Event::Change(index) => self.change(now, index, gateways),
                Event::Probe { worker, up } => {
                    if self.workers[worker].alive == up {
                        gateways.iter_mut().for_each(|gateway| gateway.probed(now, worker, up));
                    }
                }
                Event::Report => self.report(now, gateways),
                Event::Sample => self.sample(now),
                _ => {}
            }
        }
    }

    fn dispatch(&mut self, now: f64, job: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        loop {
            let state = &mut self.jobs[job];
            let gateway = &mut gateways[state.gateway];
            let Some(Route { worker, decode }) = gateway.route(now, job, &state.excluded) else {
                return self.finish(now, job);
            };
            state.attempt += 1;
            state.open = true;
            (state.prefill, state.decode) = (worker, decode.unwrap_or(worker));
            let dead = [state.prefill, state.decode].into_iter().find(|&w| !self.workers[w].alive);
            let Some(dead) = dead else { break };
            state.open = false;
            state.excluded.push(dead);
            gateway.ended(now, job, Ending::WorkerError { worker: dead }, 0);
            if state.attempt >= ATTEMPTS {
                return self.finish(now, job);
            }
        }
        let worker = self.jobs[job].prefill;
        self.workers[worker].queue.push_back(job);
        self.start_prefill(now, worker);
    }

    /// Starts the prefill of the queue's head if the worker is free and has room for it.
    fn start_prefill(&mut self, now: f64, index: usize) {
        let worker = &mut self.workers[index];
        if worker.prefilling.is_some() {
            return;
        }
        let Some(&id) = worker.queue.front() else { return };
        if worker.running.len() >= worker.model.max_sequences {
            return;
        }
        let request = &self.trace.requests[id];
        let blocks = self.trace.input_blocks(id);
        let hits = worker.cache.leading(blocks);
        let output = if worker.model.stage == Stage::Prefill { 0 } else { request.output };
        let total = (u64::from(request.input) + u64::from(output))
            .div_ceil(u64::from(self.trace.block)) as usize;
        let fresh = total.saturating_sub(hits);
        if !worker.cache.admit(&blocks[..hits], fresh, worker.running.is_empty()) {
            return;
        }
        worker.queue.pop_front();
        worker.running.push(id);
        worker.prefilling = Some((id, now));
        let cached = saved(hits, self.trace.block, request.input);
        let job = &mut self.jobs[id];
        (job.hits, job.fresh, job.cached) = (hits, fresh, cached);
        let end = now + worker.prefill_seconds(request.input - cached);
        let life = worker.life;
        self.at(end, Event::PrefillEnd { worker: index, life });
    }

    fn prefill_end(&mut self, now: f64, index: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        let worker = &mut self.workers[index];
        let Some((id, since)) = worker.prefilling.take() else { return };
        worker.busy += now - since;
        let blocks = self.trace.input_blocks(id);
        let hits = self.jobs[id].hits;
        worker.cache.fill(&blocks[hits..]);
        self.served[id].cached = self.jobs[id].cached;
        self.served[id].worker = index;
        if worker.model.stage == Stage::Prefill {
            worker.cache.unreserve(self.jobs[id].fresh.saturating_sub(blocks.len() - hits));
            worker.cache.release(blocks);
            worker.running.retain(|&job| job != id);
            let moved = f64::from(self.trace.requests[id].input) * self.fleet.transfer_per_token;
            let attempt = self.jobs[id].attempt;
            self.at(now + moved, Event::Transferred { job: id, attempt });
        } else {
            self.first_token(now, id, gateways);
            self.decode(now, id, index, gateways);
        }
        self.start_prefill(now, index);
    }

    fn transferred(&mut self, now: f64, id: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        let index = self.jobs[id].decode;
        if !self.workers[index].alive {
            return self.lost(now, id, index, gateways);
        }
        self.workers[index].queue.push_back(id);
        self.admit_decode(now, index, gateways);
    }

    /// Lets waiting requests into a decode worker while it has room.
    fn admit_decode(&mut self, now: f64, index: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        loop {
            let worker = &mut self.workers[index];
            let Some(&id) = worker.queue.front() else { return };
            let request = &self.trace.requests[id];
            let total = (u64::from(request.input) + u64::from(request.output))
                .div_ceil(u64::from(self.trace.block)) as usize;
            let full = worker.running.len() >= worker.model.max_sequences;
            if full || !worker.cache.admit(&[], total, worker.running.is_empty()) {
                return;
            }
            worker.queue.pop_front();
            worker.running.push(id);
            self.jobs[id].fresh = total;
            self.first_token(now, id, gateways);
            self.decode(now, id, index, gateways);
        }
    }

    fn decode(
        &mut self,
        now: f64,
        id: usize,
        index: usize,
        gateways: &mut [Box<dyn Gateway + '_>],
    ) {
        let tokens = self.trace.requests[id].output.saturating_sub(1);
        self.workers[index].start_decode(now, id, tokens);
        self.plan_decode(now, index);
        if tokens == 0 {
            self.decode_end(now, index, gateways);
        }
    }

    fn plan_decode(&mut self, now: f64, index: usize) {
        if let Some(end) = self.workers[index].next_end(now) {
            let version = self.workers[index].batch_version;
            self.at(end, Event::DecodeEnd { worker: index, version });
        }
    }

    fn decode_end(&mut self, now: f64, index: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        while let Some(id) = self.workers[index].pop_ended(now) {
            let worker = &mut self.workers[index];
            worker.running.retain(|&job| job != id);
            if worker.model.stage == Stage::Decode {
                worker.cache.unreserve(self.jobs[id].fresh);
            } else {
                let prompt = self.trace.input_blocks(id);
                let all = self.trace.all_blocks(id);
                worker.cache.unreserve(self.jobs[id].fresh + self.jobs[id].hits - prompt.len());
                worker.cache.release_with(prompt, all);
            }
            self.served[id].finished = now - self.served[id].arrival;
            self.end(now, id, gateways);
            self.finish(now, id);
        }
        self.plan_decode(now, index);
        if self.workers[index].model.stage == Stage::Decode {
            self.admit_decode(now, index, gateways);
        } else {
            self.start_prefill(now, index);
        }
    }

    fn end(&mut self, now: f64, id: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        let job = &mut self.jobs[id];
        job.open = false;
        gateways[job.gateway].ended(now, id, Ending::Success, job.cached);
    }

    fn first_token(&mut self, now: f64, id: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        let job = &mut self.jobs[id];
        job.first_token = Some(now);
        self.served[id].first_token = now - self.served[id].arrival;
        if self.fleet.signal_loss > 0.0 && self.rng.unit() < self.fleet.signal_loss {
            return;
        }
        if self.fleet.signal_delay > 0.0 {
            let attempt = self.jobs[id].attempt;
            self.at(now + self.fleet.signal_delay, Event::Heard { job: id, attempt });
        } else {
            self.heard(now, id, gateways);
        }
    }

    fn heard(&mut self, now: f64, id: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        let job = &self.jobs[id];
        if job.open {
            gateways[job.gateway].first_token(now, id, job.cached);
        }
    }

    /// The request needs no more from anyone; those that wait for it may come.
    fn finish(&mut self, now: f64, id: usize) {
        self.left -= 1;
        for follower in std::mem::take(&mut self.followers[id]) {
            let gap = self.trace.requests[follower].gap;
            self.at(now + gap, Event::Arrive(follower));
        }
    }

    fn change(&mut self, now: f64, index: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        let (_, worker, change) = self.fleet.changes[index];
        match change {
            Change::Speed(speed) => {
                self.workers[worker].set_speed(now, speed);
                self.plan_decode(now, worker);
            }
            Change::Fail => {
                for job in self.workers[worker].die() {
                    self.lost(now, job, worker, gateways);
                }
                self.at(now + self.fleet.probe_delay, Event::Probe { worker, up: false });
            }
            Change::Join => {
                self.workers[worker].alive = true;
                self.at(now + self.fleet.probe_delay, Event::Probe { worker, up: true });
            }
        }
    }

    /// The worker died under a request. Before its first token the gateway tries another one;
    /// afterwards the client has seen part of the answer, and the request ends.
    fn lost(&mut self, now: f64, id: usize, worker: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        let job = &mut self.jobs[id];
        job.open = false;
        gateways[job.gateway].ended(now, id, Ending::WorkerError { worker }, job.cached);
        job.excluded.push(worker);
        if job.first_token.is_none() && job.attempt < ATTEMPTS {
            self.dispatch(now, id, gateways);
        } else {
            self.served[id].finished = now - self.served[id].arrival;
            self.finish(now, id);
        }
    }

    fn report(&mut self, now: f64, gateways: &mut [Box<dyn Gateway + '_>]) {
        for (index, worker) in self.workers.iter().enumerate().filter(|(_, worker)| worker.alive) {
            let block = u64::from(self.trace.block);
            let report = Report {
                running: worker.running.len() as u32,
                waiting: worker.queue.len() as u32,
                kv_used_tokens: worker.cache.held() as u64 * block,
                kv_total_tokens: worker.model.capacity as u64 * block,
            };
            gateways.iter_mut().for_each(|gateway| gateway.reported(now, index, &report));
        }
        self.at(now + self.fleet.report_every, Event::Report);
    }

    fn sample(&mut self, now: f64) {
        for (worker, line) in self.workers.iter().zip(&mut self.timeline) {
            line.push((now, worker.waiting() as f64));
        }
        self.at(now + self.sample_every, Event::Sample);
    }
}
