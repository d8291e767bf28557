//! Failures as status codes, and the message of the last one on each thread.

use std::cell::RefCell;
use std::ffi::c_char;
use std::fmt;

use pointsman_core::body::BodyError;
use pointsman_core::engine::EngineError;
use pointsman_core::{
    ConfigError, FingerprintError, PolicyError, PoolError, RoutingError, TicketError,
};

use crate::status::*;
use crate::text::Text;

/// Why a call failed: an argument, or what the router said.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The argument of this name has this problem.
    Argument(&'static str, &'static str),
    /// Bytes needed.
    BufferTooSmall(usize),
    /// Elements needed.
    ArrayTooSmall(usize),
    NoSuchUrl,
    IdZero,
    NoJsonBody,
    InCallback,
    Config(ConfigError),
    Policy(PolicyError),
    Pool(PoolError),
    Routing(RoutingError),
    Ticket(TicketError),
    Fingerprint(FingerprintError),
    Body(BodyError),
    Engine(EngineError),
}

impl Failure {
    #[cold]
    #[inline(never)]
    pub(crate) fn argument(name: &'static str, problem: &'static str) -> Self {
        Failure::Argument(name, problem)
    }

    fn status(&self) -> pointsman_status {
        match self {
            Failure::Argument(..) => POINTSMAN_INVALID_ARGUMENT,
            Failure::BufferTooSmall(_) | Failure::ArrayTooSmall(_) => POINTSMAN_BUFFER_TOO_SMALL,
            Failure::NoSuchUrl | Failure::IdZero | Failure::NoJsonBody => POINTSMAN_NOT_FOUND,
            Failure::InCallback => POINTSMAN_IN_CALLBACK,
            Failure::Config(error) => of_config(error),
            Failure::Policy(error) => of_policy(error),
            Failure::Pool(error) => of_pool(error),
            Failure::Routing(error) => of_routing(error),
            Failure::Ticket(error) => of_ticket(error),
            Failure::Fingerprint(error) => of_fingerprint(error),
            Failure::Body(_) => POINTSMAN_BAD_BODY,
            Failure::Engine(_) => POINTSMAN_BAD_MESSAGE,
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
        PolicyError::InCallback => POINTSMAN_IN_CALLBACK,
        PolicyError::Refused { .. } => POINTSMAN_NO_WORKER,
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
        RoutingError::Policy(failure) => of_policy(&failure.source),
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
            Failure::ArrayTooSmall(needed) => {
                write!(f, "the array is too small: {needed} elements are needed")
            }
            Failure::NoSuchUrl => f.write_str("no worker has this URL"),
            Failure::IdZero => {
                f.write_str("0 is no worker's id; pass the one that pointsman_worker_add gave")
            }
            Failure::NoJsonBody => f.write_str("no JSON body was finished last"),
            Failure::InCallback => f.write_str("this function must not be called by a callback"),
            Failure::Config(error) => error.fmt(f),
            Failure::Policy(error) => error.fmt(f),
            Failure::Pool(error) => error.fmt(f),
            Failure::Routing(error) => error.fmt(f),
            Failure::Ticket(error) => error.fmt(f),
            Failure::Fingerprint(error) => error.fmt(f),
            Failure::Body(error) => write!(f, "request body: {error}"),
            Failure::Engine(error) => write!(f, "engine: {error}"),
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
    TicketError => Ticket, FingerprintError => Fingerprint, BodyError => Body,
    EngineError => Engine
}

/// Keeps the failure's message and says its code.
#[cold]
#[inline(never)]
pub(crate) fn report(failure: Failure) -> pointsman_status {
    set_last_error(format_args!("{failure}"));
    failure.status()
}

thread_local! {
    // Without a destructor, so that a thread leaves nothing that would run after `dlclose`.
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

pub(crate) fn last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.try_borrow().map_or(c"".as_ptr(), |last| last.as_ptr()))
}

#[cfg(test)]
pub(crate) fn last_error_text() -> String {
    LAST_ERROR.with(|last| String::from_utf8_lossy(last.borrow().as_bytes()).into_owned())
}
