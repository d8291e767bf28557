//! Why: names of reasons and outcomes, and the record of a decision.

use std::ffi::{CStr, c_char};
use std::fmt::Write as _;
use std::mem::MaybeUninit;

use pointsman_core::{Outcome, Reason, Role, WorkerId};

use crate::argument;
use crate::route::pointsman_selection;
use crate::router::{borrow, pointsman_router};
use crate::status::{Failure, pointsman_status};

/// A random draw.
pub const POINTSMAN_REASON_RANDOM: u32 = 0;

/// Its turn.
pub const POINTSMAN_REASON_ROUND_ROBIN: u32 = 1;

/// The less loaded of two random candidates.
pub const POINTSMAN_REASON_POWER_OF_TWO: u32 = 2;

/// It holds the longest part of the prompt.
pub const POINTSMAN_REASON_PREFIX_MATCH: u32 = 3;

/// Least loaded, as no worker holds enough of the prompt.
pub const POINTSMAN_REASON_LEAST_LOADED: u32 = 4;

/// Least loaded, as the loads are out of balance.
pub const POINTSMAN_REASON_IMBALANCED: u32 = 5;

/// Least work to wait for and to cause.
pub const POINTSMAN_REASON_LEAST_WORK: u32 = 6;

/// The rendezvous worker of the routing key.
pub const POINTSMAN_REASON_ROUTING_KEY: u32 = 7;

/// The only candidate.
pub const POINTSMAN_REASON_ONLY_CANDIDATE: u32 = 8;

/// Least resident KV tokens, for decode.
pub const POINTSMAN_REASON_LEAST_RESIDENT: u32 = 9;

/// A reason of the host's own policy.
pub const POINTSMAN_REASON_CUSTOM: u32 = 10;

export! {
    /// Writes a selection as one line of JSON and a final NUL into buffer: the record of the
    /// decision, for the host's log. length may be NULL; it gets the length without the NUL. router
    /// may be NULL; the URLs are left out then.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BUFFER_TOO_SMALL, where length is written
    /// nevertheless.
    fn pointsman_selection_print(
        router: *const pointsman_router,
        selection: *const pointsman_selection,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
    ) -> pointsman_status => print;

    /// A reason's name, as in metrics; "unknown" for a number that is none. Never NULL; static.
    fn pointsman_reason_string(reason: u32) -> *const c_char => reason_string;

    /// An outcome's name, as in metrics; "unknown" for a number that is none. Never NULL; static.
    fn pointsman_outcome_string(outcome: u32) -> *const c_char => outcome_string;
}

/// # Safety
/// See the export.
unsafe fn print(
    router: *const pointsman_router,
    selection: *const pointsman_selection,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<(), Failure> {
    let mut scratch = MaybeUninit::uninit();
    // SAFETY: the caller's promise.
    let (handle, chosen) = unsafe {
        (
            if router.is_null() { None } else { Some(borrow(router)?) },
            argument::input(selection, "selection", &mut scratch)?,
        )
    };
    // SAFETY: the caller's promise.
    unsafe { argument::copy_text(line_of(handle, chosen).as_bytes(), buffer, capacity, length) }
}

/// The record of a decision. Ids are strings, as JSON's numbers may not hold 64 bits.
pub(crate) fn line_of(handle: Option<&pointsman_router>, chosen: &pointsman_selection) -> String {
    let url = |worker: u64| {
        let info = handle?.router.worker(WorkerId::from_raw(worker))?;
        serde_json::to_string(&info.url).ok()
    };
    // Infinities and NaN, which only a host's own policy can bring about, are no JSON.
    let number = |score: f64| if score.is_finite() { score } else { 0.0 };
    let mut line = format!("{{\"ticket\":\"{}\",\"worker\":\"{}\"", chosen.ticket, chosen.worker);
    // Writing to a string does not fail.
    if let Some(url) = url(chosen.worker) {
        let _ = write!(line, ",\"url\":{url}");
    }
    let reason = Reason::ALL.get(chosen.reason as usize).map_or("unknown", |r| r.as_str());
    let _ = write!(
        line,
        ",\"user_data\":\"{}\",\"reason\":\"{reason}\",\"matched_tokens\":{},\"total_tokens\":{},\
         \"score\":{}",
        chosen.user_data,
        chosen.matched_tokens,
        chosen.total_tokens,
        number(chosen.score),
    );
    if chosen.runner_up != 0 {
        let _ = write!(line, ",\"runner_up\":\"{}\"", chosen.runner_up);
        if let Some(url) = url(chosen.runner_up) {
            let _ = write!(line, ",\"runner_up_url\":{url}");
        }
        let _ = write!(line, ",\"runner_up_score\":{}", number(chosen.runner_up_score));
    }
    line.push('}');
    line
}

fn reason_string(reason: u32) -> *const c_char {
    name_of(&REASONS, reason)
}

fn outcome_string(outcome: u32) -> *const c_char {
    name_of(&OUTCOMES, outcome)
}

fn name_of(names: &[&'static CStr], number: u32) -> *const c_char {
    names.get(number as usize).map_or(c"unknown", |name| name).as_ptr()
}

const REASONS: [&CStr; Reason::COUNT] = [
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

const OUTCOMES: [&CStr; Outcome::NAMES.len()] = [
    c"success",
    c"client_cancelled",
    c"client_error",
    c"worker_error",
    c"timeout",
    c"overloaded",
    c"expired",
];

/// The numbers here and in the core must not drift apart.
const _: () = {
    assert!(POINTSMAN_REASON_CUSTOM == Reason::Custom as u32);
    assert!(crate::worker::POINTSMAN_ROLE_DECODE == Role::Decode as u32);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_core() {
        for reason in Reason::ALL {
            assert_eq!(REASONS[reason as usize].to_str(), Ok(reason.as_str()));
        }
        for (name, core) in OUTCOMES.iter().zip(Outcome::NAMES) {
            assert_eq!(name.to_str(), Ok(core));
        }
    }
}
