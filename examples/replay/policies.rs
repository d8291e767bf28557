//! What can be compared: the library's policies and the baselines, by name.

use anyhow::{Context, Result, bail};
use pointsman::{
    PolicyConfig,
    policy::{LeastWorkConfig, PowerOfTwoConfig, ThresholdConfig},
};

use crate::baseline::Baseline;
use crate::baseline::dynamo::Dynamo;
use crate::baseline::least_work::LeastWork;
use crate::baseline::scorers::{SCRAPE_INTERVAL, Scorers};
use crate::baseline::shell::Shell;
use crate::baseline::threshold::Threshold;
use crate::gateway::Gateway;
use crate::library::{self, Library, Prompts};
use crate::sim::fleet::Fleet;
use crate::trace::Trace;

/// A contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    /// The library's cache-aware policy by its default rule.
    LeastWork,
    /// The library's cache-aware policy by the threshold rule, its defaults.
    Threshold,
    /// The library's power of two.
    PowerOfTwo,
    /// The library's round-robin.
    RoundRobin,
    /// The library's random.
    Random,
    /// Baseline: SMG's cache-aware rule.
    Smg,
    /// Baseline: NVIDIA Dynamo's cost.
    Dynamo,
    /// Baseline: llm-d's weighted scorers.
    LlmD,
    /// Baseline: greedy estimated time to first token.
    Greedy,
    /// Baseline: the least-work rule as written, exact state.
    AsWritten,
    /// The library's least-work rule with other knobs.
    Variant(&'static Variant),
}

/// A named set of knobs. Lives as long as the program: there are as many as the command line names.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Variant {
    name: String,
    knobs: String,
}

/// What a run is about: what a router of any kind is made from.
pub(crate) struct Setting<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) prompts: &'a Prompts,
    pub(crate) replicas: usize,
}

impl Policy {
    /// All, in the order of tables.
    pub(crate) const ALL: [Policy; 10] = [
        Policy::LeastWork,
        Policy::Threshold,
        Policy::PowerOfTwo,
        Policy::RoundRobin,
        Policy::Random,
        Policy::Smg,
        Policy::Dynamo,
        Policy::LlmD,
        Policy::Greedy,
        Policy::AsWritten,
    ];

    /// The name on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Policy::LeastWork => "least_work",
            Policy::Threshold => "threshold",
            Policy::PowerOfTwo => "power_of_two",
            Policy::RoundRobin => "round_robin",
            Policy::Random => "random",
            Policy::Smg => "SMG",
            Policy::Dynamo => "Dynamo",
            Policy::LlmD => "llm-d",
            Policy::Greedy => "greedy",
            Policy::AsWritten => "as-written",
            Policy::Variant(variant) => &variant.name,
        }
    }

    /// The least-work rule with other knobs, from NAME={"KNOB": VALUE, ...}.
    pub(crate) fn variant(text: &str) -> Result<Policy> {
        let (name, knobs) = text.split_once('=').context("a variant is NAME={KNOBS}")?;
        least_work(knobs, 1)?;
        let variant = Variant { name: name.to_owned(), knobs: knobs.to_owned() };
        Ok(Policy::Variant(Box::leak(Box::new(variant))))
    }

    /// The policy of that name.
    pub(crate) fn parse(name: &str) -> Result<Policy> {
        let same = |policy: &Policy| policy.name().eq_ignore_ascii_case(name);
        match Policy::ALL.into_iter().find(same) {
            Some(policy) => Ok(policy),
            None => {
                let names: Vec<&str> = Policy::ALL.iter().map(|policy| policy.name()).collect();
                bail!("unknown policy \"{name}\"; known are: {}", names.join(", "))
            }
        }
    }

    /// Seconds between the load reports that it cannot do without.
    pub(crate) fn report_interval(self) -> Option<f64> {
        (self == Policy::LlmD).then_some(SCRAPE_INTERVAL)
    }

    /// The library's configuration, if the policy is the library's.
    fn config(self, replicas: usize) -> Result<Option<PolicyConfig>> {
        Ok(Some(match self {
            Policy::LeastWork => least_work("{}", replicas)?,
            Policy::Variant(variant) => least_work(&variant.knobs, replicas)?,
            Policy::Threshold => PolicyConfig::threshold(ThresholdConfig::default()),
            Policy::PowerOfTwo => PolicyConfig::PowerOfTwo(PowerOfTwoConfig::default()),
            Policy::RoundRobin => PolicyConfig::RoundRobin,
            Policy::Random => PolicyConfig::Random,
            _ => return Ok(None),
        }))
    }

    /// A fresh router.
    pub(crate) fn gateway<'a>(
        self,
        setting: &Setting<'a>,
        fleet: &Fleet,
        seed: u64,
    ) -> Result<Box<dyn Gateway + 'a>> {
        let Setting { trace, prompts, replicas } = *setting;
        if let Some(config) = self.config(replicas)? {
            let config = library::config(config, replicas, seed);
            return Ok(Box::new(Library::new(trace, prompts, fleet, config)?));
        }
        let (workers, requests) = (fleet.workers.len(), trace.requests.len());
        Ok(match self {
            Policy::Dynamo => shell(trace, fleet, seed, Dynamo::new(workers, trace.ids, requests)),
            Policy::LlmD => shell(trace, fleet, seed, Scorers::new(workers)),
            Policy::Greedy => shell(trace, fleet, seed, LeastWork::greedy(workers, requests)),
            Policy::AsWritten => shell(trace, fleet, seed, LeastWork::new(workers, requests)),
            _ => shell(trace, fleet, seed, Threshold::new(workers, trace.ids)),
        })
    }
}

/// The rule with these knobs, a JSON object, for so many routers.
fn least_work(knobs: &str, replicas: usize) -> Result<PolicyConfig> {
    let mut config: LeastWorkConfig = serde_json::from_str(knobs)?;
    config.replicas = replicas as u32;
    Ok(PolicyConfig::least_work(config))
}

fn shell<'a, B: Baseline + 'a>(
    trace: &'a Trace,
    fleet: &Fleet,
    seed: u64,
    rule: B,
) -> Box<dyn Gateway + 'a> {
    Box::new(Shell::new(trace, fleet, rule, seed))
}
