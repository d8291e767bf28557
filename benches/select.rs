//! What it costs to choose a worker without reading the prompt.
//!
//! Nanoseconds per `select_single` (on the concrete policy and through `dyn RoutingPolicy`), per
//! `select` + `complete` of a router, and allocations, at 8, 64 and 1,024 workers, on one and two
//! threads; beside the floor of the same run, and beside the proposal's own code.
//!
//! ```text
//! cargo bench --bench select                       everything but the async adapter
//! cargo bench --bench select --features async      everything
//! cargo bench --bench select -- --quick            fewer and shorter rounds
//! cargo bench --bench select -- --only NAME N      one case, N operations, nothing measured:
//!                                                  for instruction counts; no NAME lists them
//! ```

// A benchmark whose set-up fails has nothing to measure.
#![allow(clippy::expect_used)]

#[cfg(feature = "async")]
#[path = "support/adapted.rs"]
mod adapted;
#[cfg(feature = "async")]
#[path = "compare/src/adapter.rs"]
mod adapter;
mod support;

use std::time::Duration;

use support::allocations::Counting;
use support::measure::Effort;
use support::simple::{Report, cases};

#[global_allocator]
static ALLOCATOR: Counting = Counting { live: false, refuses: false };

const FULL: Effort = Effort { rounds: 15, slice: Duration::from_millis(4) };
const QUICK: Effort = Effort { rounds: 9, slice: Duration::from_millis(1) };

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        [] => report(FULL),
        ["--quick"] => report(QUICK),
        ["--only"] => cases(None).names().for_each(|name| println!("{name}")),
        ["--only", name, operations] => run_only(name, operations),
        _ => println!("usage: [--quick | --only [NAME OPERATIONS]]"),
    }
}

fn run_only(name: &str, operations: &str) {
    let table = cases(Some(name));
    match (table.case(name), operations.parse()) {
        (Some(case), Ok(operations)) => case.run(operations),
        _ => println!("no case {name:?}, or {operations:?} is not a number"),
    }
}

fn report(effort: Effort) {
    let mut table = cases(None);
    table.measure(effort);
    let report = Report { table };
    report.costs();
    report.throughput();
    report.allocations();
    println!("\nBars: ratios taken round by round, the worst of the policies and sizes\n");
    report.bars().iter().for_each(|bar| println!("{bar}"));
    report.comparison();
    #[cfg(feature = "async")]
    adapted::report(effort);
}
