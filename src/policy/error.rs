//! Why a policy names no worker, cannot be built, or is configured wrongly: typed, and saying what to do.

use thiserror::Error;

use crate::body::BodyError;
use crate::pool::candidates::Candidates;
use crate::prefix::FingerprintError;
use crate::range::OutOfRange;
use crate::worker::{Role, WorkerId};

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
        /// Of these, unhealthy, as the host has set or by outcomes.
        unhealthy: u32,
        /// Of these, draining.
        draining: u32,
        /// Of the remaining ones, those that the request's exclusions, allow set or labels rule out.
        excluded: u32,
    },
    /// Every worker that the request may use is at its limit of in-flight requests, or came to it before
    /// the request could take its last place; or it has a limit, and the ticket table is full, so that
    /// the request would not count towards it. Of a pair: there are workers that may serve together, and
    /// limits alone keep all of them; where prefill workers could be had, `role` is decode.
    #[error(
        "all {busy} eligible {role} workers are at their in-flight limit, or no ticket is free to hold them \
         to it: queue the request or shed it"
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
        /// Eligible prefill workers, full ones included.
        prefill: u32,
        /// Eligible decode workers, full ones included.
        decode: u32,
    },
    /// The policy failed.
    #[error(transparent)]
    Policy(Box<PolicyFailure>),
    /// The fingerprint in the request does not fit this router.
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// The request's JSON body is malformed. To route it nevertheless, make a request without a
    /// prompt.
    #[error("request body: {0}")]
    Body(#[from] BodyError),
}

impl RoutingError {
    /// The role that had no worker to give, where it was a single role.
    pub fn role(&self) -> Option<Role> {
        match self {
            RoutingError::NoHealthyWorkers { role, .. } | RoutingError::AllBusy { role, .. } => {
                Some(*role)
            }
            _ => None,
        }
    }
}

// Here rather than in the pool, which knows nothing of policies and what they answer.
impl Candidates<'_> {
    /// Why there is no candidate: the error to return where there is none. A policy that has candidates and
    /// wants none of them returns [`PolicyError::Refused`] in a [`PolicyFailure`]. O(slots / 64).
    #[cold]
    pub fn none(&self) -> RoutingError {
        let (role, view) = (self.role(), self.view());
        let busy = self.admitted().len() as u32;
        if busy > 0 {
            return RoutingError::AllBusy { role, busy };
        }
        RoutingError::NoHealthyWorkers {
            role,
            workers: view.workers,
            unhealthy: view.unhealthy,
            draining: view.draining,
            excluded: view.eligible.len() as u32,
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

impl From<PolicyFailure> for RoutingError {
    fn from(failure: PolicyFailure) -> Self {
        RoutingError::Policy(Box::new(failure))
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
    /// The policy had candidates with room and wants none of them. No lack of workers and no limit: waiting
    /// for a place does not help.
    #[error("it refused all of {candidates} candidates")]
    Refused {
        /// How many it was asked about.
        candidates: u32,
    },
    /// The policy reported a failure of its own.
    #[error("{0}")]
    Failed(String),
    /// The policy cannot be asked from inside a callback of the host's.
    #[error("it was asked from inside a callback")]
    InCallback,
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is outside of its range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
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

/// Turns a policy's own failure into the error of a request.
#[cold]
pub(crate) fn failed(name: &str, source: PolicyError) -> RoutingError {
    PolicyFailure::new(name, source).into()
}
