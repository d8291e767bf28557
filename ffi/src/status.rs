//! Status codes, and the message of the last error.

use std::cell::RefCell;
use std::ffi::c_char;
use std::fmt::{self, Write};

use pointsman_core::body::BodyError;
use pointsman_core::{
    ConfigError, FingerprintError, PolicyError, PoolError, RoutingError, TicketError,
};

/// What a function says about how it went: POINTSMAN_OK or one of the other POINTSMAN_ status codes.
/// The numbers never change meaning; later versions may add some.
#[allow(non_camel_case_types)]
pub type pointsman_status = i32;

/// Done. Only now are outputs written.
pub const POINTSMAN_OK: pointsman_status = 0;
/// An argument is NULL, too small, out of range, not UTF-8, or of no known meaning. A mistake in the
/// calling program.
pub const POINTSMAN_INVALID_ARGUMENT: pointsman_status = 1;
/// The configuration is refused: not JSON, an unknown field, a value out of range, an unknown policy.
/// The message has the position.
pub const POINTSMAN_INVALID_CONFIG: pointsman_status = 2;
/// No worker is eligible for the request: none registered, or all unhealthy, draining or ruled out.
pub const POINTSMAN_NO_WORKER: pointsman_status = 3;
/// Every eligible worker is at its limit of requests in flight: queue the request or shed it.
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
/// A policy of the host's own failed, or chose what it may not choose.
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

const NAMES: [&std::ffi::CStr; 17] = [
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
];

export! {
    /// A few words for a status code; "unknown status" for a number that is none. Never NULL; static.
    fn pointsman_status_string(status: pointsman_status) -> *const c_char => status_string;

    /// The message of the last call on this thread that failed; empty if none did. Never NULL.
    ///
    /// Names the argument, field, worker or position that the status code cannot name. Calls that
    /// succeed leave it alone. The text belongs to the thread and is valid until the next call that
    /// fails on this thread; at most 1,023 bytes, UTF-8, NUL-terminated.
    fn pointsman_last_error() -> *const c_char => last_error;
}

fn status_string(status: pointsman_status) -> *const c_char {
    let name = usize::try_from(status).ok().and_then(|index| NAMES.get(index));
    name.map_or(c"unknown status".as_ptr(), |name| name.as_ptr())
}

/// Why a call failed: an argument, or what the router said.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The argument of this name has this problem.
    Argument(&'static str, &'static str),
    BufferTooSmall(usize),
    NoSuchUrl,
    NobodysId,
    NoBody,
    InCallback,
    Config(ConfigError),
    Policy(PolicyError),
    Pool(PoolError),
    Routing(RoutingError),
    Ticket(TicketError),
    Fingerprint(FingerprintError),
    Body(BodyError),
}

impl Failure {
    #[cold]
    pub(crate) fn argument(name: &'static str, problem: &'static str) -> Self {
        Failure::Argument(name, problem)
    }

    fn status(&self) -> pointsman_status {
        match self {
            Failure::Argument(..) => POINTSMAN_INVALID_ARGUMENT,
            Failure::BufferTooSmall(_) => POINTSMAN_BUFFER_TOO_SMALL,
            Failure::NoSuchUrl | Failure::NobodysId | Failure::NoBody => POINTSMAN_NOT_FOUND,
            Failure::InCallback => POINTSMAN_IN_CALLBACK,
            Failure::Config(error) => of_config(error),
            Failure::Policy(error) => of_policy(error),
            Failure::Pool(error) => of_pool(error),
            Failure::Routing(error) => of_routing(error),
            Failure::Ticket(error) => of_ticket(error),
            Failure::Fingerprint(error) => of_fingerprint(error),
            Failure::Body(_) => POINTSMAN_BAD_BODY,
        }
    }
}

fn of_config(error: &ConfigError) -> pointsman_status {
    match error {
        ConfigError::TooManyPolicies(_) => POINTSMAN_LIMIT,
        ConfigError::Policy(PolicyError::Failed(_)) => POINTSMAN_POLICY_FAILED,
        _ => POINTSMAN_INVALID_CONFIG,
    }
}

fn of_policy(error: &PolicyError) -> pointsman_status {
    match error {
        PolicyError::Duplicate { .. } => POINTSMAN_ALREADY_EXISTS,
        _ => POINTSMAN_POLICY_FAILED,
    }
}

fn of_pool(error: &PoolError) -> pointsman_status {
    match error {
        PoolError::DuplicateUrl { .. } => POINTSMAN_ALREADY_EXISTS,
        PoolError::UnknownWorker(_) => POINTSMAN_NOT_FOUND,
        PoolError::TooManyWorkers { .. } => POINTSMAN_LIMIT,
        _ => POINTSMAN_INVALID_ARGUMENT,
    }
}

fn of_routing(error: &RoutingError) -> pointsman_status {
    match error {
        RoutingError::NoHealthyWorkers { .. } => POINTSMAN_NO_WORKER,
        RoutingError::AllBusy { .. } => POINTSMAN_ALL_BUSY,
        RoutingError::NoPair { .. } => POINTSMAN_NO_PAIR,
        RoutingError::Fingerprint(error) => of_fingerprint(error),
        RoutingError::Body(_) => POINTSMAN_BAD_BODY,
        RoutingError::Policy(_) => POINTSMAN_POLICY_FAILED,
        _ => POINTSMAN_INTERNAL,
    }
}

fn of_ticket(error: &TicketError) -> pointsman_status {
    match error {
        TicketError::Unknown => POINTSMAN_NOT_FOUND,
        TicketError::Closed => POINTSMAN_ALREADY_CLOSED,
        TicketError::FirstTokenTwice => POINTSMAN_ALREADY_REPORTED,
        _ => POINTSMAN_INTERNAL,
    }
}

fn of_fingerprint(error: &FingerprintError) -> pointsman_status {
    match error {
        FingerprintError::BufferTooSmall { .. } => POINTSMAN_BUFFER_TOO_SMALL,
        _ => POINTSMAN_BAD_FINGERPRINT,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Argument(name, problem) => write!(f, "{name} {problem}"),
            Failure::BufferTooSmall(needed) => {
                write!(f, "the buffer is too small: {needed} bytes are needed")
            }
            Failure::NoSuchUrl => f.write_str("no worker has this URL"),
            Failure::NobodysId => {
                f.write_str("0 is no worker's id; pass the one that pointsman_worker_add gave")
            }
            Failure::NoBody => f.write_str("no JSON body was finished last"),
            Failure::InCallback => f.write_str("this function must not be called by a callback"),
            Failure::Config(error) => error.fmt(f),
            Failure::Policy(error) => error.fmt(f),
            Failure::Pool(error) => error.fmt(f),
            Failure::Routing(error) => error.fmt(f),
            Failure::Ticket(error) => error.fmt(f),
            Failure::Fingerprint(error) => error.fmt(f),
            Failure::Body(error) => write!(f, "request body: {error}"),
        }
    }
}

macro_rules! from {
    ($($error:ident => $variant:ident),*) => {$(
        impl From<$error> for Failure {
            #[cold]
            fn from(error: $error) -> Self {
                Failure::$variant(error)
            }
        }
    )*};
}

from! {
    ConfigError => Config, PolicyError => Policy, PoolError => Pool, RoutingError => Routing,
    TicketError => Ticket, FingerprintError => Fingerprint, BodyError => Body
}

/// Keeps the failure's message and says its code.
#[cold]
#[inline(never)]
pub(crate) fn report(failure: &Failure) -> pointsman_status {
    set_last_error(format_args!("{failure}"));
    failure.status()
}

/// A NUL-terminated line of text in fixed memory: what does not fit is cut off at a character, and
/// control characters, which names from outside may have, become spaces.
pub(crate) struct Text<const BYTES: usize> {
    bytes: [u8; BYTES],
    length: usize,
}

impl<const BYTES: usize> Text<BYTES> {
    pub(crate) const fn new() -> Self {
        Text { bytes: [0; BYTES], length: 0 }
    }

    pub(crate) fn set(&mut self, text: fmt::Arguments<'_>) {
        self.length = 0;
        // An error says that the rest was cut off, or that a message failed to print itself.
        let _ = self.write_fmt(text);
        if let Some(end) = self.bytes.get_mut(self.length) {
            *end = 0;
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn as_ptr(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }
}

impl<const BYTES: usize> Write for Text<BYTES> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One byte stays free for the NUL.
        let room = BYTES.saturating_sub(1).saturating_sub(self.length);
        let mut fits = text.len().min(room);
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        let target = self.bytes.get_mut(self.length..self.length + fits).ok_or(fmt::Error)?;
        target.copy_from_slice(text.as_bytes().get(..fits).ok_or(fmt::Error)?);
        target.iter_mut().filter(|byte| byte.is_ascii_control()).for_each(|byte| *byte = b' ');
        self.length += fits;
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

thread_local! {
    // Without a destructor, so that a thread leaves nothing behind that would run after `dlclose`.
    static LAST_ERROR: RefCell<Text<1024>> = const { RefCell::new(Text::new()) };
}

/// Keeps a message as this thread's last error, without allocating.
pub(crate) fn set_last_error(message: fmt::Arguments<'_>) {
    LAST_ERROR.with(|last| {
        // Borrowed already: a message's own formatting failed and reports that.
        if let Ok(mut last) = last.try_borrow_mut() {
            last.set(message);
        }
    });
}

fn last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.try_borrow().map_or(c"".as_ptr(), |last| last.as_ptr()))
}

#[cfg(test)]
pub(crate) fn last_error_text() -> String {
    LAST_ERROR.with(|last| String::from_utf8_lossy(last.borrow().as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_and_ends_with_nul() {
        let mut text = Text::<8>::new();
        text.set(format_args!("{}", "1234567"));
        assert_eq!((text.as_bytes(), text.bytes[7]), (&b"1234567"[..], 0));
        text.set(format_args!("123456\u{e4}"));
        assert_eq!((text.as_bytes(), text.bytes[6]), (&b"123456"[..], 0));
        text.set(format_args!("a\n\0\u{7f}b"));
        assert_eq!(text.as_bytes(), b"a   b");
        text.set(format_args!("{}{}", "ab", "c"));
        assert_eq!((text.as_bytes(), text.bytes[3]), (&b"abc"[..], 0));
    }

    #[test]
    fn every_status_has_a_name_and_no_other_number_has_one() {
        let name = |status| {
            // SAFETY: the function returns static, NUL-terminated text.
            unsafe { std::ffi::CStr::from_ptr(status_string(status)) }
        };
        let names: std::collections::HashSet<_> = (0..=POINTSMAN_INTERNAL).map(name).collect();
        assert_eq!(names.len(), POINTSMAN_INTERNAL as usize + 1);
        for wild in [-1, i32::MIN, POINTSMAN_INTERNAL + 1, i32::MAX] {
            assert_eq!(name(wild), c"unknown status");
        }
    }
}
