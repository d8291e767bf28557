//! Why a worker was chosen.

use std::ffi::{CStr, c_char};

use pointsman_core::Reason;

use crate::failure::Failure;

/// Why a worker was chosen: one of the POINTSMAN_REASON_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_reason = u32;

/// A random draw.
pub const POINTSMAN_REASON_RANDOM: pointsman_reason = 0;

/// Its turn.
pub const POINTSMAN_REASON_ROUND_ROBIN: pointsman_reason = 1;

/// The less loaded of two random candidates.
pub const POINTSMAN_REASON_POWER_OF_TWO: pointsman_reason = 2;

/// It holds the longest part of the prompt.
pub const POINTSMAN_REASON_PREFIX_MATCH: pointsman_reason = 3;

/// Least loaded, as no worker holds enough of the prompt.
pub const POINTSMAN_REASON_LEAST_LOADED: pointsman_reason = 4;

/// Least loaded, as the loads are out of balance.
pub const POINTSMAN_REASON_IMBALANCED: pointsman_reason = 5;

/// Least work to wait for and to cause.
pub const POINTSMAN_REASON_LEAST_WORK: pointsman_reason = 6;

/// The rendezvous worker of the routing key.
pub const POINTSMAN_REASON_ROUTING_KEY: pointsman_reason = 7;

/// The only candidate.
pub const POINTSMAN_REASON_ONLY_CANDIDATE: pointsman_reason = 8;

/// Least resident KV tokens, for decode.
pub const POINTSMAN_REASON_LEAST_RESIDENT: pointsman_reason = 9;

/// A reason of the host's own policy.
pub const POINTSMAN_REASON_CUSTOM: pointsman_reason = 10;

export! {
    /// A reason's name, as in metrics; "unknown" for a number that is none. Never NULL; static.
    fn pointsman_reason_string(reason: pointsman_reason) -> *const c_char => reason_string(reason);
}

fn reason_string(reason: pointsman_reason) -> Result<*const c_char, Failure> {
    Ok(NAMES.get(reason as usize).map_or(c"unknown", |name| name).as_ptr())
}

const NAMES: [&CStr; Reason::COUNT] = [
    c"random",
    c"round_robin",
    c"power_of_two",
    c"prefix_match",
    c"least_loaded",
    c"imbalanced",
    c"least_work",
    c"routing_key",
    c"only_candidate",
    c"least_resident",
    c"custom",
];

/// The numbers here and in the core must not drift apart.
const _: () = assert!(POINTSMAN_REASON_CUSTOM == Reason::Custom as u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_core() {
        for reason in Reason::ALL {
            assert_eq!(NAMES[reason as usize].to_str(), Ok(reason.as_str()));
        }
    }
}
