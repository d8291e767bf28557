//! What can be compared: the library's policies and the baselines, by name.

use anyhow::{Result, bail};

use crate::baseline::dynamo::Dynamo;
use crate::baseline::least_work::LeastWork;
use crate::baseline::scorers::{SCRAPE_INTERVAL, Scorers};
use crate::baseline::shell::Shell;
use crate::baseline::threshold::Threshold;
use crate::gateway::Gateway;
use crate::sim::fleet::Fleet;
use crate::trace::Trace;

/// A contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    /// SMG's cache-aware rule.
    Smg,
    /// NVIDIA Dynamo's cost.
    Dynamo,
    /// llm-d's weighted scorers.
    LlmD,
    /// Greedy estimated time to first token.
    Greedy,
    /// The least-work rule as written, exact state.
    AsWritten,
}

impl Policy {
    /// All, in the order of tables.
    pub(crate) const ALL: [Policy; 5] =
        [Policy::Smg, Policy::Dynamo, Policy::LlmD, Policy::Greedy, Policy::AsWritten];

    /// The name on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Policy::Smg => "smg",
            Policy::Dynamo => "dynamo",
            Policy::LlmD => "llm-d",
            Policy::Greedy => "greedy",
            Policy::AsWritten => "least_work as written",
        }
    }

    /// The policy of that name.
    pub(crate) fn parse(name: &str) -> Result<Policy> {
        let known = Policy::ALL.into_iter().find(|policy| policy.name() == name);
        match known {
            Some(policy) => Ok(policy),
            None => {
                let names: Vec<&str> = Policy::ALL.iter().map(|policy| policy.name()).collect();
                bail!("unknown policy \"{name}\"; known are: {}", names.join(", "))
            }
        }
    }

    /// Seconds between the load reports that it wants; 0 for none.
    pub(crate) fn report_interval(self) -> f64 {
        if self == Policy::LlmD { SCRAPE_INTERVAL } else { 0.0 }
    }

    /// A fresh router.
    pub(crate) fn gateway<'a>(
        self,
        trace: &'a Trace,
        fleet: &Fleet,
        seed: u64,
    ) -> Result<Box<dyn Gateway + 'a>> {
        let (workers, requests) = (fleet.workers.len(), trace.requests.len());
        Ok(match self {
            Policy::Smg => shell(trace, fleet, seed, Threshold::new(workers, trace.ids)),
            Policy::Dynamo => shell(trace, fleet, seed, Dynamo::new(workers, trace.ids, requests)),
            Policy::LlmD => shell(trace, fleet, seed, Scorers::new(workers)),
            Policy::Greedy => shell(trace, fleet, seed, LeastWork::greedy(workers, requests)),
            Policy::AsWritten => shell(trace, fleet, seed, LeastWork::new(workers, requests)),
        })
    }
}

fn shell<'a, B: crate::baseline::Baseline + 'a>(
    trace: &'a Trace,
    fleet: &Fleet,
    seed: u64,
    rule: B,
) -> Box<dyn Gateway + 'a> {
    Box::new(Shell::new(trace, fleet, rule, seed))
}
