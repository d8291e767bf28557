//! Why the pool refuses a change, and the checks that find it.

use thiserror::Error;

use super::MAX_WORKERS;
use crate::range::Brief;
use crate::worker::{
    WorkerId,
    change::WorkerChange,
    spec::{MAX_WEIGHT, MIN_WEIGHT, WorkerSpec},
};

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
        /// The worker that has it.
        id: WorkerId,
    },
    /// Weight 0.
    #[error("weight 0 is not allowed; drain the worker instead")]
    ZeroWeight,
    /// A weight that is no share.
    #[error("weight {} is not allowed: it must be between {MIN_WEIGHT} and {MAX_WEIGHT}", Brief(*weight))]
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

/// Refuses what no pool can hold.
pub(super) fn check(spec: &WorkerSpec) -> Result<(), PoolError> {
    if spec.url.is_empty() {
        return Err(PoolError::EmptyUrl);
    }
    check_weight(spec.weight)?;
    check_limit(spec.max_in_flight)
}

/// Refuses a change to what no pool can hold.
pub(super) fn check_change(change: &WorkerChange) -> Result<(), PoolError> {
    if change.url.as_deref() == Some("") {
        return Err(PoolError::EmptyUrl);
    }
    change.weight.map_or(Ok(()), check_weight)?;
    check_limit(change.max_in_flight.flatten())
}

/// A limit of requests in flight must be above 0.
pub(super) fn check_limit(limit: Option<u32>) -> Result<(), PoolError> {
    if limit == Some(0) { Err(PoolError::ZeroMaxInFlight) } else { Ok(()) }
}

/// A weight must be between one millionth and a million.
pub(super) fn check_weight(weight: f64) -> Result<(), PoolError> {
    if weight == 0.0 {
        Err(PoolError::ZeroWeight)
    } else if (MIN_WEIGHT..=MAX_WEIGHT).contains(&weight) {
        Ok(())
    } else {
        Err(PoolError::BadWeight { weight })
    }
}
