//! The lab's parts, tested one by one: the simulator against theory and against a recorded run, the
//! baselines against published examples, the readers against bad input, and the library in the
//! simulator.

#![allow(dead_code, clippy::unwrap_used)]

#[path = "../../examples/replay/baseline/mod.rs"]
mod baseline;
#[path = "../../examples/replay/gateway.rs"]
mod gateway;
#[path = "../../examples/replay/library.rs"]
mod library;
#[path = "../../examples/replay/policies.rs"]
mod policies;
#[path = "../../examples/replay/scenario.rs"]
mod scenario;
#[path = "../../examples/replay/sim/mod.rs"]
mod sim;
#[path = "../../examples/replay/trace/mod.rs"]
mod trace;

mod baselines;
mod circumstances;
mod input;
mod recorded;
mod script;
mod theory;

use gateway::Gateway;
use sim::fleet::Fleet;
use sim::outcome::Run;
use trace::{RawRequest, Trace, TraceBuilder};

/// A trace of these requests with blocks of `block` tokens.
fn trace_of(block: u32, requests: impl IntoIterator<Item = RawRequest>) -> Trace {
    let mut builder = TraceBuilder::new("test", block);
    requests.into_iter().for_each(|request| builder.push(request));
    builder.build()
}

/// Runs the trace at its own times through one gateway.
fn run(trace: &Trace, fleet: &Fleet, gateway: Box<dyn Gateway + '_>) -> Run {
    let times: Vec<f64> = trace.requests.iter().map(|request| request.arrival).collect();
    sim::engine::run(trace, fleet, &times, &mut [gateway], 1)
}
