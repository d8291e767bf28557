//! The original proposal's async trait over synchronous policies, and a router in front of `tower`
//! services.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "../support/counting.rs"]
mod counting;
#[path = "../support/engine.rs"]
mod engine;
#[path = "../support/recorder.rs"]
mod recorder;

mod allocations;
mod completion;
mod selection;
mod service;
mod slots;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting { live: false, refuses: false };
