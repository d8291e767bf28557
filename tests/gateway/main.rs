//! The gateway example end to end, over loopback: real HTTP, simulated engines.

// The helpers of a test may panic as the test itself may.
#![allow(clippy::unwrap_used, clippy::panic)]

// The tests use a part of what the example has.
#[allow(dead_code)]
#[path = "../../examples/gateway/cli.rs"]
mod cli;
#[allow(dead_code)]
#[path = "../../examples/gateway/engine/mod.rs"]
mod engine;
#[allow(dead_code)]
#[path = "../../examples/gateway/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../../examples/gateway/load/mod.rs"]
mod load;
#[allow(dead_code)]
#[path = "../../examples/gateway/proxy/mod.rs"]
mod proxy;

mod admin;
mod bodies;
mod command_line;
mod failures;
mod pairs;
mod refusals;
mod rig;
mod scraping;
mod stale;
mod streaming;
mod usage;
