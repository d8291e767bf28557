//! Policies: the law of each built-in one, a policy from outside the crate, and the factory. One file per
//! policy, one binary, so that it is linked once.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;

mod cache_aware;
mod custom_policy;
mod factory;
mod least_work;
mod power_of_two;
mod random;
mod round_robin;
mod threshold;
mod weights;
