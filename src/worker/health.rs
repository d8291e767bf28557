//! Outcomes of requests, and what they say about a worker's health.
//!
//! ```text
//!            3 failures in a row                after 10 s, doubling to 5 min
//!  healthy ----------------------> ejected <---------------------------------+
//!     ^                               |                                      |
//!     |                               v                                      |
//!     +------ 2 successes ------- probation: one request at a time -- failure +
//! ```
//!
//! This file holds the rules as plain values; the pool applies them under its writer lock.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::spec::WorkerInfo;
use crate::name::{self, UnknownName};
use crate::range::{self, OutOfRange};
use crate::time::Time;

const SECOND: u64 = 1_000_000_000;

/// The pause of a worker that asks for one without a length.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a worker can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The worker answered in full.
    Success,
    /// The client went away.
    ClientCancelled,
    /// The request was the client's fault (4xx).
    ClientError,
    /// The worker failed: refused or broke the connection, or answered 5xx.
    WorkerError,
    /// The worker did not answer in time.
    Timeout,
    /// The worker asked for a pause (429, 503): its weight is lowered until it is over.
    Overloaded {
        /// From the completion until the worker takes its full share again; at most
        /// [`HealthConfig::max_ejection_secs`], so that no answer can keep a worker out for ever.
        retry_after: Duration,
    },
    /// The ticket was not completed before its deadline. Set by the router; from a host it counts as
    /// [`Outcome::ClientCancelled`].
    Expired,
}

impl Outcome {
    /// How many outcomes there are.
    pub const COUNT: usize = 7;
    /// Every outcome, in the order of [`Outcome::index`], with the pause of a worker that does not say
    /// how long.
    pub const ALL: [Outcome; Self::COUNT] = [
        Outcome::Success,
        Outcome::ClientCancelled,
        Outcome::ClientError,
        Outcome::WorkerError,
        Outcome::Timeout,
        Outcome::Overloaded { retry_after: PAUSE },
        Outcome::Expired,
    ];
    /// Names in the order of [`Outcome::index`], as in metrics.
    pub const NAMES: [&'static str; Self::COUNT] = [
        "success",
        "client_cancelled",
        "client_error",
        "worker_error",
        "timeout",
        "overloaded",
        "expired",
    ];

    /// A dense index: 0 to [`Outcome::COUNT`] - 1.
    pub fn index(self) -> usize {
        match self {
            Outcome::Success => 0,
            Outcome::ClientCancelled => 1,
            Outcome::ClientError => 2,
            Outcome::WorkerError => 3,
            Outcome::Timeout => 4,
            Outcome::Overloaded { .. } => 5,
            Outcome::Expired => 6,
        }
    }

    /// The outcome's name, as in metrics.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// What the status of an HTTP response says about the worker, for a response that came to its end.
    ///
    /// 429 asks for a pause, as does 503 with a `retry_after` (the header's seconds): as long as that
    /// says, 300 s at most, or 1 s where nothing is said. 504 is a timeout, any other 5xx the worker's
    /// error, any other 4xx the client's, and everything else a success.
    pub fn from_http_status(status: u16, retry_after: Option<Duration>) -> Outcome {
        match (status, retry_after) {
            (429, _) | (503, Some(_)) => {
                Outcome::Overloaded { retry_after: retry_after.unwrap_or(PAUSE).min(LONGEST_PAUSE) }
            }
            (504, _) => Outcome::Timeout,
            (500..=599, _) => Outcome::WorkerError,
            (400..=499, _) => Outcome::ClientError,
            _ => Outcome::Success,
        }
    }

    /// Whether it counts against the worker's health.
    pub fn is_worker_failure(self) -> bool {
        matches!(self, Outcome::WorkerError | Outcome::Timeout)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From its name, as [`Outcome::as_str`] gives it. The pause of an overloaded worker is not in the name:
/// it becomes the one of a worker that does not say how long, 1 s.
impl FromStr for Outcome {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        name::find("outcome", name, &Self::ALL, Self::as_str)
    }
}

/// Passive health checking: when workers are ejected, and how they come back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HealthConfig {
    /// Failures in a row that eject a worker; 0 switches passive ejection off.
    pub failures: u32,
    /// Seconds from the first ejection to probation.
    pub ejection_secs: f64,
    /// Seconds that repeated ejections double up to, and the longest pause that an overloaded worker
    /// is granted.
    pub max_ejection_secs: f64,
    /// Successes in probation that make a worker healthy again.
    pub successes: u32,
    /// Share of a role's workers that may be ejected at once.
    pub max_ejected_share: f64,
    /// What an overloaded worker's weight is multiplied with until its pause is over.
    pub overloaded_weight: f64,
}

impl Default for HealthConfig {
    fn default() -> Self {
        HealthConfig {
            failures: 3,
            ejection_secs: 10.0,
            max_ejection_secs: 300.0,
            successes: 2,
            max_ejected_share: 0.5,
            overloaded_weight: 0.1,
        }
    }
}

impl HealthConfig {
    pub(crate) fn check(&self) -> Result<(), OutOfRange> {
        let day = 86_400.0;
        range::check("health.ejection_secs", self.ejection_secs, 0.001, day)?;
        range::check("health.max_ejection_secs", self.max_ejection_secs, self.ejection_secs, day)?;
        range::check("health.successes", f64::from(self.successes), 1.0, 1e6)?;
        range::check("health.max_ejected_share", self.max_ejected_share, 0.0, 1.0)?;
        range::check("health.overloaded_weight", self.overloaded_weight, 0.001, 1.0)
    }

    /// Nanoseconds of the pause that an overloaded worker gets which asks for this much.
    pub(crate) fn pause(&self, asked: Duration) -> u64 {
        let most = (self.max_ejection_secs * SECOND as f64) as u64;
        u64::try_from(asked.as_nanos()).map_or(most, |asked| asked.min(most))
    }

    /// Nanoseconds of the ejection that follows `earlier` ones without a recovery in between.
    pub(crate) fn ejection(&self, earlier: u32) -> u64 {
        let secs = self.ejection_secs * f64::from(1u32 << earlier.min(30));
        (secs.min(self.max_ejection_secs) * SECOND as f64) as u64
    }
}

/// What a host says about a worker's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostHealth {
    /// Nothing: the outcomes of its requests decide.
    #[default]
    Unknown,
    /// It takes requests, whatever their outcomes are.
    Healthy,
    /// It takes none.
    Unhealthy,
}

/// What a worker has become, by its outcomes and by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthState {
    /// It takes its share again: probation went well.
    Healthy,
    /// It gets nothing: it failed too often in a row, or on probation.
    Ejected {
        /// When probation begins, in the nanoseconds of the router's clock.
        until: Time,
    },
    /// It is let in one request at a time, to see if it has recovered.
    Probation,
}

/// A change of a worker's health by its outcomes or by time. What the host sets itself is no such
/// change.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HealthChange {
    /// When, in the nanoseconds of the router's clock.
    pub now: Time,
    /// Which worker.
    pub worker: Arc<WorkerInfo>,
    /// What it has become.
    pub state: HealthState,
}

/// Where a worker stands, by its outcomes alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// When the ejection ends; `None` outside of one.
    pub(crate) ejected_until: Option<u64>,
    pub(crate) on_probation: bool,
    /// Ejections since the worker was last healthy.
    pub(crate) ejections: u32,
}

impl Health {
    pub(crate) fn eject(&mut self, config: &HealthConfig, now: u64) -> HealthState {
        let until = now.saturating_add(config.ejection(self.ejections));
        self.ejected_until = Some(until);
        self.on_probation = false;
        self.ejections = self.ejections.saturating_add(1);
        HealthState::Ejected { until: until.into() }
    }

    /// Starts probation if the ejection is over; whether it did.
    pub(crate) fn try_probation(&mut self, now: u64) -> bool {
        let over = self.ejected_until.is_some_and(|until| until <= now);
        if over {
            self.ejected_until = None;
            self.on_probation = true;
        }
        over
    }

    /// The clock was set back by this much.
    pub(crate) fn turn_back(&mut self, by: u64) {
        self.ejected_until = self.ejected_until.map(|until| until.saturating_sub(by));
    }

    pub(crate) fn recover(&mut self) {
        *self = Health::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_gives_an_outcome_and_a_pause() {
        let overloaded = |secs| Outcome::Overloaded { retry_after: Duration::from_secs(secs) };
        let told = |secs| Some(Duration::from_secs(secs));
        for (status, retry_after, outcome) in [
            (200, told(9), Outcome::Success),
            (101, None, Outcome::Success),
            (302, None, Outcome::Success),
            (400, None, Outcome::ClientError),
            (499, told(9), Outcome::ClientError),
            (429, None, overloaded(1)),
            (429, told(0), overloaded(0)),
            (503, None, Outcome::WorkerError),
            (503, told(0), overloaded(0)),
            (503, told(20), overloaded(20)),
            (503, told(u64::MAX), overloaded(300)),
            (500, told(9), Outcome::WorkerError),
            (502, None, Outcome::WorkerError),
            (504, None, Outcome::Timeout),
            (599, None, Outcome::WorkerError),
        ] {
            assert_eq!(Outcome::from_http_status(status, retry_after), outcome, "{status}");
        }
    }
}
