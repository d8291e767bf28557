//! Why a worker was chosen: numbers and names that metrics, logs and the C interface share.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::name::{self, UnknownName};

/// Why a worker was chosen.
// A whole word, so that decisions and selections have no padding: moving them copies words, and no
// load straddles two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u64)]
#[non_exhaustive]
pub enum Reason {
    /// A random draw.
    Random = 0,
    /// Its turn.
    RoundRobin = 1,
    /// The less loaded of two random candidates.
    PowerOfTwo = 2,
    /// It holds the longest part of the prompt.
    PrefixMatch = 3,
    /// Least loaded, as no worker holds enough of the prompt.
    LeastLoaded = 4,
    /// Least loaded, as the loads are out of balance.
    Imbalanced = 5,
    /// Least work to wait for and to cause.
    LeastWork = 6,
    /// The rendezvous worker of the request's routing key.
    RoutingKey = 7,
    /// The only candidate.
    OnlyCandidate = 8,
    /// Least resident KV tokens, for decode.
    LeastResident = 9,
    /// A reason of a policy from outside this crate.
    Custom = 10,
}

impl Reason {
    /// How many reasons there are.
    pub const COUNT: usize = 11;
    /// Every reason, in the order of its number.
    pub const ALL: [Reason; Self::COUNT] = [
        Reason::Random,
        Reason::RoundRobin,
        Reason::PowerOfTwo,
        Reason::PrefixMatch,
        Reason::LeastLoaded,
        Reason::Imbalanced,
        Reason::LeastWork,
        Reason::RoutingKey,
        Reason::OnlyCandidate,
        Reason::LeastResident,
        Reason::Custom,
    ];

    /// The reason's name, as in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Random => "random",
            Reason::RoundRobin => "round_robin",
            Reason::PowerOfTwo => "power_of_two",
            Reason::PrefixMatch => "prefix_match",
            Reason::LeastLoaded => "least_loaded",
            Reason::Imbalanced => "imbalanced",
            Reason::LeastWork => "least_work",
            Reason::RoutingKey => "routing_key",
            Reason::OnlyCandidate => "only_candidate",
            Reason::LeastResident => "least_resident",
            Reason::Custom => "custom",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From its name, as [`Reason::as_str`] gives it.
impl FromStr for Reason {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        name::find("reason", name, &Self::ALL, Self::as_str)
    }
}
