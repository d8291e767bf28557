//! The router through its public interface: its configuration, its pool, health, tickets, pairs,
//! switches of policy and what it reports. One file per concern, one binary, so that it is linked once.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "../models/mod.rs"]
mod models;
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../engine/messages.rs"]
mod messages;

mod answers;
mod breaks;
mod candidates;
mod config;
mod eligibility_model;
mod engine_events;
mod health;
mod health_model;
mod learned;
mod long_prompts;
mod lost_races;
mod many_at_once;
mod names;
mod observers;
mod pairs;
mod policy_switch;
mod pool;
mod refusals;
mod regret;
mod tickets;
mod tickets_model;
mod update;
mod usage;
