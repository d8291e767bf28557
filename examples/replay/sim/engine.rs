//! The event loop: arrivals, routing, prefill, transfer, decode, and what happens to workers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Instant;
use super::fleet::{Change, Fleet, Stage};
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
pub(super) enum Event {
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
pub(super) struct Job {
    pub(super) gateway: usize,
    pub(super) prefill: usize,
    pub(super) decode: usize,
    pub(super) attempt: u32,
    pub(super) excluded: Vec<usize>,
    pub(super) cached: u32,
    pub(super) hits: usize,
    pub(super) fresh: usize,
    pub(super) first_token: Option<f64>,
    pub(super) open: bool,
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
        busy: simulation.prefill_seconds(),
        served: simulation.served,
        timeline: simulation.timeline,
    }
}

pub(super) struct Simulation<'a> {
    pub(super) trace: &'a Trace,
    pub(super) fleet: &'a Fleet,
    pub(super) workers: Vec<Worker>,
    pub(super) jobs: Vec<Job>,
    pub(super) served: Vec<Served>,
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

    /// Seconds spent in prefill by each worker that prefills.
    fn prefill_seconds(&self) -> Vec<f64> {
        let prefills = |worker: &&Worker| worker.model.stage != Stage::Decode;
        self.workers.iter().filter(prefills).map(|worker| worker.busy).collect()
    }

    pub(super) fn at(&mut self, time: f64, event: Event) {
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
                Event::Probe { worker, up } if self.workers[worker].alive == up => {
                    gateways.iter_mut().for_each(|gateway| gateway.probed(now, worker, up));
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

    pub(super) fn end(&mut self, now: f64, id: usize, gateways: &mut [Box<dyn Gateway + '_>]) {
        let job = &mut self.jobs[id];
        job.open = false;
        gateways[job.gateway].ended(now, id, Ending::Success, job.cached);
    }

    pub(super) fn first_token(
        &mut self,
        now: f64,
        id: usize,
        gateways: &mut [Box<dyn Gateway + '_>],
    ) {
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

    /// The request is over; those that wait for it may start.
    pub(super) fn finish(&mut self, now: f64, id: usize) {
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
    pub(super) fn lost(
        &mut self,
        now: f64,
        id: usize,
        worker: usize,
        gateways: &mut [Box<dyn Gateway + '_>],
    ) {
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
