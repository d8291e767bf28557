//! Status codes and their names.

use std::ffi::CStr;

/// The result of a call: POINTSMAN_OK or one of the other POINTSMAN_ status codes.
/// The numbers never change meaning; later versions may add some.
#[allow(non_camel_case_types)]
pub type pointsman_status = i32;

/// Done. Only now are outputs written.
pub const POINTSMAN_OK: pointsman_status = 0;
/// An argument is NULL, too small, out of range, not UTF-8, or of no known meaning: a mistake in the
/// calling program.
pub const POINTSMAN_INVALID_ARGUMENT: pointsman_status = 1;
/// The configuration is refused: not JSON, an unknown field, a value out of range, an unknown policy.
/// The message has the position.
pub const POINTSMAN_INVALID_CONFIG: pointsman_status = 2;
/// No worker is eligible for the request: none registered, or all unhealthy, draining or ruled out; or a
/// policy of the host's own has refused them.
pub const POINTSMAN_NO_WORKER: pointsman_status = 3;
/// Every eligible worker is at its limit of requests in flight, or every two of a pair that may work
/// together; or the ticket table is full and they have limits, which a request without a ticket would
/// not count towards: queue the request or shed it.
pub const POINTSMAN_ALL_BUSY: pointsman_status = 4;
/// Prefill and decode workers are eligible, but none that may work together.
pub const POINTSMAN_NO_PAIR: pointsman_status = 5;
/// No such worker or ticket, now or any more.
pub const POINTSMAN_NOT_FOUND: pointsman_status = 6;
/// The ticket is closed already: completed, expired, or its worker was removed. Harmless.
pub const POINTSMAN_ALREADY_CLOSED: pointsman_status = 7;
/// The ticket's first token was reported already. Harmless.
pub const POINTSMAN_ALREADY_REPORTED: pointsman_status = 8;
/// A worker with this URL, or a policy with this name, is registered already.
pub const POINTSMAN_ALREADY_EXISTS: pointsman_status = 9;
/// A fixed limit is reached: workers, or replaced policies that still have requests in flight.
pub const POINTSMAN_LIMIT: pointsman_status = 10;
/// A policy of the host's own failed, or chose no candidate.
pub const POINTSMAN_POLICY_FAILED: pointsman_status = 11;
/// The request's body is not JSON. The message has the position.
pub const POINTSMAN_BAD_BODY: pointsman_status = 12;
/// The fingerprint does not fit this router: format, key, block size or namespace.
pub const POINTSMAN_BAD_FINGERPRINT: pointsman_status = 13;
/// The buffer is too small; the length needed has been written.
pub const POINTSMAN_BUFFER_TOO_SMALL: pointsman_status = 14;
/// Called from inside a callback that must not call this.
pub const POINTSMAN_IN_CALLBACK: pointsman_status = 15;
/// A bug in the library: a panic was caught. The router goes on working.
pub const POINTSMAN_INTERNAL: pointsman_status = 16;
/// What an engine sent cannot be read. The message has the position.
pub const POINTSMAN_BAD_MESSAGE: pointsman_status = 17;

const NAMES: [&CStr; 18] = [
    c"ok",
    c"invalid argument",
    c"invalid configuration",
    c"no eligible worker",
    c"all eligible workers are busy",
    c"no prefill and decode worker that may work together",
    c"not found",
    c"already closed",
    c"already reported",
    c"already exists",
    c"limit reached",
    c"policy failed",
    c"bad request body",
    c"fingerprint does not fit this router",
    c"buffer too small",
    c"not allowed inside a callback",
    c"internal error",
    c"bad message of an engine",
];

/// A few words for a status code.
pub(crate) fn name_of(status: pointsman_status) -> &'static CStr {
    let name = usize::try_from(status).ok().and_then(|index| NAMES.get(index));
    name.copied().unwrap_or(c"unknown status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_name_and_no_other_number_has_one() {
        let names: std::collections::HashSet<_> =
            (0..=POINTSMAN_BAD_MESSAGE).map(name_of).collect();
        assert_eq!(names.len(), POINTSMAN_BAD_MESSAGE as usize + 1);
        for wild in [-1, i32::MIN, POINTSMAN_BAD_MESSAGE + 1, i32::MAX] {
            assert_eq!(name_of(wild), c"unknown status");
        }
    }
}
