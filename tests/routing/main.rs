//! The core through its public interface. One file per strategy or concern, one binary, so that it
//! is linked once.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "../models/mod.rs"]
mod models;
#[path = "../support/mod.rs"]
mod support;

mod cache_aware;
mod candidates;
mod config;
mod custom_policy;
mod eligibility_model;
mod factory;
mod health;
mod health_model;
mod long_prompts;
mod lost_races;
mod many_at_once;
mod names;
mod observers;
mod pairs;
mod policy_switch;
mod pool;
mod power_of_two;
mod random;
mod round_robin;
mod threshold;
mod tickets;
mod tickets_model;
