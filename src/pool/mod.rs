//! The pool: the workers, and an immutable snapshot of those that may be chosen.
//!
//! - [`set`]: a set of slots as bits.
//! - [`chances`]: weighted draws of one worker or two.
//! - [`schedule`]: weighted round-robin as a precomputed cycle.
//! - [`snapshot`]: all of that for one state of the membership; rebuilt on change, never per request.
//! - [`filter`]: what one request rules out, as bits.
//! - [`loads`]: where the load of a worker is found.
//! - [`candidates`]: the view that policies choose from: snapshot, filter and load together; each is a
//!   [`candidate`].
//! - [`best`]: the best two of many offers.
//! - [`error`]: why a change of the membership is refused.
//! - [`registry`]: the writer's side: registration, health and weights, as a plain `&mut self` value.

pub(crate) mod best;
pub(crate) mod candidate;
pub(crate) mod candidates;
pub(crate) mod chances;
pub(crate) mod error;
pub(crate) mod filter;
pub(crate) mod loads;
#[cfg(all(test, pointsman_loom))]
mod loom;
pub(crate) mod registry;
pub(crate) mod schedule;
pub(crate) mod set;
pub(crate) mod snapshot;
pub(crate) mod status;

/// The largest number of workers that one router can hold.
pub const MAX_WORKERS: usize = 1024;
