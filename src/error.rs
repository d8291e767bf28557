//! Every error of the library: typed, and saying what to do.

use std::fmt;

use thiserror::Error;

use crate::body::BodyError;
use crate::pool::MAX_WORKERS;
use crate::prefix::FingerprintError;
use crate::worker::{Role, WorkerId, spec::MAX_WEIGHT};

/// Why no worker was named.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum RoutingError {
    /// No worker of the role is eligible for this request.
    #[error(
        "no {} {role} worker: {workers} registered, of which {unhealthy} unhealthy, \
         {draining} draining, {excluded} excluded by the request",
        if *excluded > 0 { "eligible" } else { "healthy" }
    )]
    NoHealthyWorkers {
        /// The role that has none.
        role: Role,
        /// Workers registered in the role.
        workers: u32,
        /// Of these, unhealthy (by the host's word or by outcomes).
        unhealthy: u32,
        /// Of these, draining.
        draining: u32,
        /// Of the remaining ones, those that the request's exclusions, allow set or labels rule out.
        excluded: u32,
    },
    /// Every worker that the request may use is at its limit of in-flight requests.
    /// Rarely also the answer to a request that has lost four races for a limited worker's last place.
    #[error(
        "all {busy} eligible {role} workers are at their in-flight limit: queue the request or shed it"
    )]
    AllBusy {
        /// The role that is full.
        role: Role,
        /// How many workers are full.
        busy: u32,
    },
    /// There are eligible workers of both roles, but none that may work together.
    #[error(
        "no prefill and decode worker share a group: {prefill} prefill and {decode} decode workers are eligible"
    )]
    NoPair {
        /// Eligible prefill workers.
        prefill: u32,
        /// Eligible decode workers.
        decode: u32,
    },
    /// The policy failed.
    #[error(transparent)]
    Policy(Box<PolicyFailure>),
    /// The fingerprint in the request does not fit this router.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// The request's JSON body is malformed. To route it all the same, make a request without a
    /// prompt.
    #[error("request body: {0}")]
    Body(#[from] BodyError),
}

impl RoutingError {
    /// The role that had no worker to give, where one role is to blame.
    pub fn role(&self) -> Option<Role> {
        match self {
            RoutingError::NoHealthyWorkers { role, .. } | RoutingError::AllBusy { role, .. } => {
                Some(*role)
            }
            _ => None,
        }
    }
}

/// A policy's failure to decide. Boxed in [`RoutingError`], which every select returns by value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("policy {name:?}: {source}")]
#[non_exhaustive]
pub struct PolicyFailure {
    /// The policy's name.
    pub name: String,
    /// What went wrong.
    pub source: PolicyError,
}

impl PolicyFailure {
    /// The policy of this name failed by this.
    pub fn new(name: impl Into<String>, source: PolicyError) -> Self {
        PolicyFailure { name: name.into(), source }
    }
}

/// What a policy can do wrong, and what can be wrong with a policy.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The policy named a worker that was not among the candidates.
    #[error("it chose worker {worker}, which is not among the candidates")]
    NotACandidate {
        /// What it named.
        worker: WorkerId,
    },
    /// No policy of this name is registered with the factory.
    #[error("unknown policy {name:?}; known are {known}; one of your own must be registered first")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names registered, comma separated.
        known: String,
    },
    /// The name is taken.
    #[error("a policy named {name:?} is registered already; choose another name")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The constructor refused its options.
    #[error("options refused: {0}")]
    Options(String),
    /// The policy reported a failure of its own.
    #[error("{0}")]
    Failed(String),
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is outside of its range.
    #[error(
        "{field} = {} is out of range: it must be between {} and {}",
        Brief(*value), Brief(*min), Brief(*max)
    )]
    OutOfRange {
        /// The field, with its path.
        field: &'static str,
        /// What was given.
        value: f64,
        /// Smallest allowed.
        min: f64,
        /// Largest allowed.
        max: f64,
    },
    /// A field of another router's configuration that has no meaning here.
    #[error("{field} has no meaning here: {instead}")]
    Refused {
        /// The field.
        field: &'static str,
        /// What to set instead.
        instead: &'static str,
    },
    /// The document is not valid JSON of the schema; the message names line and column.
    #[error("configuration: {0}")]
    Document(String),
    /// The policy could not be built.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Too many policies still have requests in flight.
    #[error("{0} replaced policies still have requests in flight; complete those first")]
    TooManyPolicies(usize),
}

impl ConfigError {
    /// Checks that a number is within a closed range; NaN never is.
    pub(crate) fn range(
        field: &'static str,
        value: f64,
        min: f64,
        max: f64,
    ) -> Result<(), ConfigError> {
        if (min..=max).contains(&value) {
            Ok(())
        } else {
            Err(ConfigError::OutOfRange { field, value, min, max })
        }
    }
}

/// A number of a message: with an exponent where it would take a line of digits.
struct Brief(f64);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Brief(value) = *self;
        if value != 0.0 && value.is_finite() && !(1e-9..1e15).contains(&value.abs()) {
            write!(f, "{value:e}")
        } else {
            write!(f, "{value}")
        }
    }
}

/// Why a change of the pool was refused; nothing has changed.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum PoolError {
    /// A worker needs a URL.
    #[error("the worker's URL is empty")]
    EmptyUrl,
    /// The URL is registered already.
    #[error("a worker with URL {url:?} is registered already, as {id}; remove it first")]
    DuplicateUrl {
        /// The URL.
        url: String,
        /// Who has it.
        id: WorkerId,
    },
    /// Weight 0.
    #[error("weight 0 is not allowed; drain the worker instead")]
    ZeroWeight,
    /// A weight that is no share.
    #[error("weight {} is not allowed: it must be above 0 and at most {MAX_WEIGHT}", Brief(*weight))]
    BadWeight {
        /// What was given.
        weight: f64,
    },
    /// A limit of 0 in-flight requests.
    #[error("max_in_flight 0 is not allowed; drain the worker instead")]
    ZeroMaxInFlight,
    /// No worker has this id, now or any more.
    #[error("no worker has id {0}")]
    UnknownWorker(WorkerId),
    /// The pool is full.
    #[error(
        "the pool holds its maximum of {max} workers; {}",
        if *max < MAX_WORKERS { "raise max_workers" } else { "no pool can hold more" }
    )]
    TooManyWorkers {
        /// The limit.
        max: usize,
    },
}

/// Why a ticket could not be used; nothing has changed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketError {
    /// The number was never given out by this router.
    #[error("no such ticket")]
    Unknown,
    /// The ticket was completed, expired, or closed because its worker was removed.
    #[error("the ticket is closed: it was completed or expired, or its worker was removed")]
    Closed,
    /// The first token was reported before.
    #[error("the first token of this ticket was reported before")]
    FirstTokenTwice,
}
