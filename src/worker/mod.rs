//! Workers: what identifies an inference engine, what the router counts for it, what it reports.
//!
//! - [`spec`]: what a host says about a worker at registration; checked once.
//! - [`change`]: what it changes about one later.
//! - [`report`]: what it says about its own load.
//! - [`state`]: one worker's flat row of atomics: in-flight, limits, counters, its last load report.
//! - [`health`]: outcomes, and the state machine from healthy to ejected and back.
//! - [`proposal`]: the `Worker` trait for routers that bring a worker type of their own.

pub(crate) mod change;
pub(crate) mod health;
pub(crate) mod means;
pub(crate) mod proposal;
pub(crate) mod report;
pub(crate) mod spec;
pub(crate) mod state;

use std::num::{NonZeroU64, ParseIntError};
use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::name::{self, UnknownName};

/// A worker's identity: its slot, and the generation of the slot that it was registered in.
///
/// Never reused: a worker registered into a slot that another one left gets a new generation, so an
/// old id is unknown instead of naming the new worker. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[repr(transparent)]
pub struct WorkerId(NonZeroU64);

impl WorkerId {
    const SLOT_BITS: u32 = 16;
    /// Slot 1 of generation 0, which no worker ever has.
    const UNREGISTERED: NonZeroU64 = NonZeroU64::MIN;

    pub(crate) fn new(slot: usize, generation: u64) -> Self {
        let raw = generation << Self::SLOT_BITS | (slot as u64 & 0xffff);
        // Generations start at 1, so a registered worker's id is not 0.
        WorkerId(NonZeroU64::new(raw).unwrap_or(Self::UNREGISTERED))
    }

    /// The slot: the small index under which policies keep what they know about the worker.
    #[inline]
    pub fn slot(self) -> usize {
        (self.0.get() & 0xffff) as usize
    }

    /// How often the slot had been given out when this worker got it; starts at 1.
    #[inline]
    pub fn generation(self) -> u64 {
        self.0.get() >> Self::SLOT_BITS
    }

    /// The id as a number, for foreign interfaces and logs.
    pub fn to_raw(self) -> u64 {
        self.0.get()
    }

    /// An id from [`WorkerId::to_raw`]. A number that never was an id is simply unknown to the pool.
    pub fn from_raw(raw: u64) -> Self {
        WorkerId(NonZeroU64::new(raw).unwrap_or(Self::UNREGISTERED))
    }

    /// Ids from numbers, where they lie; `None` if one of them is 0.
    pub fn from_raw_slice(raw: &[u64]) -> Option<&[WorkerId]> {
        if raw.contains(&0) {
            return None;
        }
        // SAFETY: `WorkerId` is a transparent `NonZeroU64`, which has the layout of `u64` and takes
        // every value but 0, and no element is 0.
        Some(unsafe { &*(std::ptr::from_ref(raw) as *const [WorkerId]) })
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerId({}.{})", self.slot(), self.generation())
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// From the number that it is displayed as.
impl FromStr for WorkerId {
    type Err = ParseIntError;

    fn from_str(number: &str) -> Result<Self, ParseIntError> {
        number.parse().map(WorkerId)
    }
}

/// What a worker does in the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Serves whole requests.
    #[default]
    Regular,
    /// Computes the prompt of a prefill/decode pair.
    Prefill,
    /// Generates the tokens of a prefill/decode pair.
    Decode,
}

impl Role {
    /// Every role, in the order of [`Role::index`].
    pub const ALL: [Role; 3] = [Role::Regular, Role::Prefill, Role::Decode];

    /// A dense index: 0, 1, 2.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The role's name, as in configuration and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Regular => "regular",
            Role::Prefill => "prefill",
            Role::Decode => "decode",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From its name, as [`Role::as_str`] gives it.
impl FromStr for Role {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        name::find("role", name, &Self::ALL, Self::as_str)
    }
}
