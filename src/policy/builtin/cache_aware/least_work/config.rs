//! What can be set of the least-work rule.

use serde::{Deserialize, Serialize};

use super::formula;
use crate::policy::error::ConfigError;
use crate::range;

/// What can be set of the least-work rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LeastWorkConfig {
    /// Tokens added to every request's work for what it costs besides its own tokens. Raise it where
    /// short requests are slow on your engines.
    pub overhead_tokens: u32,
    /// Largest weight of caused work. Lower it if idle workers are passed over for cached ones
    /// under overload.
    pub max_kappa: f64,
    /// Share of a new sample in the busy share of workers.
    pub busy_step: f64,
    /// Share of a new sample in the mean work.
    pub work_step: f64,
    /// What is kept of the measured prefill rates with each new sample, at most 0.9999; nearer to 1
    /// is slower to follow.
    pub rate_decay: f64,
    /// Prefill rate assumed before the first sample, in tokens per second.
    pub initial_rate: f64,
    /// Most of the head request's work that is counted as done before its first token.
    pub head_cap: f64,
    /// Share of a new sample in a worker's reliability; 0 ignores reported cached tokens.
    pub reliability_step: f64,
    /// How much the wait for KV space counts, where a worker's capacity is known: 1 as much as work of
    /// that length, 0 not at all. Lower it if requests that share much of their prompts run at the
    /// same time, so that workers fit in more than prompts and answers add up to.
    pub room_weight: f64,
    /// Where the relative speed of workers comes from.
    pub speed: Speed,
    /// Routers in front of the same workers that share nothing. Above 1, prompts that no worker holds
    /// the beginning of are drawn to one worker that all routers agree on; they must share a hash key.
    pub replicas: u32,
    /// With replicas: the share of the unmatched prompt that the agreed worker is credited with.
    pub replica_discount: f64,
    /// With replicas: tokens whose blocks decide the agreed worker; a match that long needs no
    /// agreement.
    pub replica_tokens: u32,
    /// With replicas: seconds after which a worker's load report counts as missing; 0 ignores
    /// reports. A fresh one tells of the requests that other replicas have queued. Raise it to twice
    /// the interval at which the host polls its workers.
    pub max_report_age_secs: f64,
    /// Decode load of a running sequence, in KV tokens, on top of its own. Raise it if decode workers
    /// with many short sequences are slower than others.
    pub sequence_tokens: u64,
    /// Most workers that are scored for one request: the holders of its prefix, then a random sample.
    pub scored_workers: usize,
}

/// Where the relative speed of workers comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Speed {
    /// By their weights: a worker of weight 2 computes twice as fast.
    #[default]
    Weight,
    /// By the prefill rates that their first tokens show.
    Measured,
    /// Not at all.
    Equal,
}

impl Default for LeastWorkConfig {
    fn default() -> Self {
        LeastWorkConfig {
            overhead_tokens: formula::OVERHEAD_TOKENS,
            max_kappa: 9.0,
            busy_step: 0.005,
            work_step: 0.01,
            rate_decay: 0.99,
            initial_rate: 8000.0,
            head_cap: 0.95,
            reliability_step: 0.03,
            room_weight: 2.0,
            speed: Speed::Weight,
            replicas: 1,
            replica_discount: 0.6,
            replica_tokens: 1024,
            max_report_age_secs: 2.0,
            sequence_tokens: 4000,
            scored_workers: 64,
        }
    }
}

impl LeastWorkConfig {
    pub(in crate::policy::builtin) fn check(&self) -> Result<(), ConfigError> {
        let range = range::check;
        range("least_work.overhead_tokens", self.overhead_tokens.into(), 0.0, 1e6)?;
        range("least_work.max_kappa", self.max_kappa, 0.0, 1e6)?;
        range("least_work.busy_step", self.busy_step, 0.0, 1.0)?;
        range("least_work.work_step", self.work_step, 0.0, 1.0)?;
        range("least_work.rate_decay", self.rate_decay, 0.0, 0.9999)?;
        range("least_work.initial_rate", self.initial_rate, 1.0, 1e9)?;
        range("least_work.head_cap", self.head_cap, 0.0, 1.0)?;
        range("least_work.reliability_step", self.reliability_step, 0.0, 1.0)?;
        range("least_work.room_weight", self.room_weight, 0.0, 100.0)?;
        range("least_work.replicas", self.replicas.into(), 1.0, 65_536.0)?;
        range("least_work.replica_discount", self.replica_discount, 0.0, 1.0)?;
        range("least_work.replica_tokens", self.replica_tokens.into(), 0.0, 1e6)?;
        range("least_work.max_report_age_secs", self.max_report_age_secs, 0.0, 3600.0)?;
        range("least_work.sequence_tokens", self.sequence_tokens as f64, 0.0, 1e9)?;
        range("least_work.scored_workers", self.scored_workers as f64, 2.0, 1024.0)?;
        Ok(())
    }
}
