//! The gateway example end to end, over loopback: real HTTP, simulated engines.

// The helpers of a test may panic as the test itself may.
#![allow(clippy::unwrap_used, clippy::panic)]

// The tests use a part of what the example has.
#[allow(dead_code)]
#[path = "../examples/gateway/cli.rs"]
mod cli;
#[allow(dead_code)]
#[path = "../examples/gateway/engine/mod.rs"]
mod engine;
#[allow(dead_code)]
#[path = "../examples/gateway/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../examples/gateway/load/mod.rs"]
mod load;
#[allow(dead_code)]
#[path = "../examples/gateway/proxy/mod.rs"]
mod proxy;

#[path = "gateway/admin.rs"]
mod admin;
#[path = "gateway/command_line.rs"]
mod command_line;
#[path = "gateway/failures.rs"]
mod failures;
#[path = "gateway/pairs.rs"]
mod pairs;
#[path = "gateway/rig.rs"]
mod rig;
#[path = "gateway/scraping.rs"]
mod scraping;
#[path = "gateway/streaming.rs"]
mod streaming;
