//! One experiment: a fleet, a load, circumstances; and its result.

use anyhow::Result;

use crate::library::Prompts;
use crate::policies::{Policy, Setting};
use crate::sim::arrivals::{self, Process};
use crate::sim::engine;
use crate::sim::fleet::{Change, Fleet, Stage};
use crate::sim::oracle::{self, Oracle};
use crate::sim::outcome::{Run, Summary};
use crate::trace::Trace;

/// What the fleet looks like and what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Shape {
    /// Equal workers, all the time.
    Even,
    /// Every other worker has half the speed.
    Unequal,
    /// One worker falls to 30% of its speed in the middle third of the run.
    Slow,
    /// One worker dies after a third of the run and is back, empty, after two thirds.
    Failing,
    /// A quarter of the workers joins after a third of the run.
    Joining,
    /// Half of the workers prefill, the other half decodes.
    Split,
}

impl Shape {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Even => "even",
            Shape::Unequal => "unequal",
            Shape::Slow => "slow",
            Shape::Failing => "failing",
            Shape::Joining => "joining",
            Shape::Split => "split",
        }
    }
}

/// A trace and its prompts in the library's form.
pub(crate) struct Material {
    pub(crate) trace: Trace,
    pub(crate) prompts: Prompts,
}

impl Material {
    pub(crate) fn new(trace: Trace) -> Result<Self> {
        Ok(Self { prompts: Prompts::new(&trace)?, trace })
    }
}

/// One experiment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scenario {
    /// Workers.
    pub(crate) workers: usize,
    /// All workers' KV capacity as a share of the trace's distinct prompt blocks.
    pub(crate) cache_share: f64,
    /// Share of the time that the unavoidable prefill work fills.
    pub(crate) load: f64,
    /// How requests come.
    pub(crate) process: Process,
    /// Gateways that share nothing.
    pub(crate) replicas: usize,
    /// Fleet.
    pub(crate) shape: Shape,
    /// Seconds by which first tokens are heard of too late.
    pub(crate) signal_delay: f64,
    /// Share of first tokens never heard of.
    pub(crate) signal_loss: f64,
    /// Seconds between the workers' load reports; none when 0.
    pub(crate) report_every: f64,
}

/// KV bytes per token over bytes per second of the link between prefill and decode workers: 128 KiB
/// at 25 GB/s.
const TRANSFER_SECONDS_PER_TOKEN: f64 = 131_072.0 / 25e9;

impl Default for Scenario {
    /// The cluster of the gates.
    fn default() -> Self {
        Self {
            workers: 8,
            cache_share: 0.10,
            load: 0.70,
            process: Process::Trace,
            replicas: 1,
            shape: Shape::Even,
            signal_delay: 0.0,
            signal_loss: 0.0,
            report_every: 0.0,
        }
    }
}

impl Scenario {
    /// The scenario in one line.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!(
            "{} workers, cache {:.0}%, load {:.2}",
            self.workers,
            self.cache_share * 100.0,
            self.load
        );
        if self.process == Process::Poisson {
            text.push_str(", Poisson arrivals");
        }
        if self.shape != Shape::Even {
            text.push_str(&format!(", {} workers", self.shape.name()));
        }
        if self.replicas > 1 {
            text.push_str(&format!(", {} gateways", self.replicas));
        }
        if self.signal_delay > 0.0 {
            text.push_str(&format!(", first tokens heard {} s late", self.signal_delay));
        }
        if self.signal_loss > 0.0 {
            let lost = self.signal_loss * 100.0;
            text.push_str(&format!(", {lost:.0}% of first tokens never heard"));
        }
        if self.report_every > 0.0 {
            text.push_str(&format!(", load reports every {} s", self.report_every));
        }
        text
    }

    /// Blocks of all workers' caches together.
    pub(crate) fn total_blocks(&self, trace: &Trace) -> usize {
        (trace.distinct_input as f64 * self.cache_share) as usize
    }

    /// What one cache of that size would save.
    pub(crate) fn oracle(&self, trace: &Trace) -> Oracle {
        oracle::shared(trace, self.total_blocks(trace))
    }

    fn capacity(&self, trace: &Trace) -> usize {
        (trace.distinct_input as f64 * self.cache_share / self.workers as f64) as usize
    }

    /// The fleet, whose changes are placed within `span` seconds.
    fn fleet(&self, trace: &Trace, span: f64) -> Fleet {
        let mut fleet = Fleet::standard(self.workers, self.capacity(trace));
        fleet.signal_delay = self.signal_delay;
        fleet.signal_loss = self.signal_loss;
        let (early, late) = (span / 3.0, span * 2.0 / 3.0);
        match self.shape {
            Shape::Even => {}
            Shape::Unequal => {
                for worker in fleet.workers.iter_mut().skip(1).step_by(2) {
                    worker.prefill_rate /= 2.0;
                    worker.step *= 2.0;
                    worker.step_per_sequence *= 2.0;
                }
            }
            Shape::Slow => {
                fleet.changes = vec![(early, 0, Change::Speed(0.3)), (late, 0, Change::Speed(1.0))];
            }
            Shape::Failing => {
                fleet.changes = vec![(early, 0, Change::Fail), (late, 0, Change::Join)];
            }
            Shape::Joining => {
                let first = self.workers - (self.workers / 4).min(self.workers - 1);
                for worker in first..self.workers {
                    fleet.workers[worker].present = false;
                    fleet.changes.push((early, worker, Change::Join));
                }
            }
            Shape::Split => {
                fleet.transfer_per_token = TRANSFER_SECONDS_PER_TOKEN;
                let prefill = (self.workers / 2).max(1);
                for (index, worker) in fleet.workers.iter_mut().enumerate() {
                    worker.stage = if index < prefill { Stage::Prefill } else { Stage::Decode };
                }
            }
        }
        fleet
    }

    /// Runs `policy` on `trace`; `oracle` is [`Scenario::oracle`].
    pub(crate) fn run(
        &self,
        material: &Material,
        oracle: &Oracle,
        policy: Policy,
        seed: u64,
    ) -> Result<Finished> {
        let trace = &material.trace;
        let setting = Setting { trace, prompts: &material.prompts, replicas: self.replicas };
        let span = arrivals::span_for(trace, &self.fleet(trace, 0.0), oracle, self.load);
        let mut fleet = self.fleet(trace, span);
        fleet.report_every = policy.report_interval().unwrap_or(self.report_every);
        let times = arrivals::times(trace, self.process, span, seed);
        let gateway = |replica| {
            let replica_seed = crate::sim::rng::mix(seed ^ ((replica as u64) << 32));
            policy.gateway(&setting, &fleet, replica_seed)
        };
        let mut gateways = (0..self.replicas.max(1)).map(gateway).collect::<Result<Vec<_>>>()?;
        let run = engine::run(trace, &fleet, &times, &mut gateways, seed);
        Ok(Finished { summary: run.summary(trace.input_tokens()), run })
    }
}

/// A run and its measures.
pub(crate) struct Finished {
    pub(crate) summary: Summary,
    pub(crate) run: Run,
}
