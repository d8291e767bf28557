//! What goes wrong around a router: workers that flap, outages, clocks, storms of changes, policies that
//! misbehave, memory that is refused, hosts that forget, signals, clients that mean harm. After each fault no load is stuck, no
//! ticket is open that should not be, and routing is fair again after [`SETTLING`] requests per worker.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "../support/counting.rs"]
mod counting;
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;

mod abuse;
mod clock;
mod extremes;
mod flapping;
mod forgotten;
mod joining;
mod misbehaving;
mod outage;
mod refused_memory;
mod signals;
mod storms;

use pointsman::{Outcome, Request, Router, Usage, WorkerId};

use support::{SECOND, assert_idle, assert_shares, tally};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting { live: false, refuses: true };

/// Requests per worker that may be routed unevenly after a fault is over.
const SETTLING: u32 = 10;
/// Requests per worker over which shares are then measured.
const MEASURED: u32 = 200;

/// Fails unless requests that share nothing spread evenly over exactly these workers of weight 1, and
/// nothing is left open. Time stands still meanwhile.
#[track_caller]
fn assert_recovered(router: &Router, workers: &[WorkerId], now: u64) {
    let count = workers.len() as u32;
    let picks = |requests: u32| (0..requests).map(|_| serve(router, Outcome::Success, now));
    picks(SETTLING * count).for_each(drop);
    let counts = tally(workers, picks(MEASURED * count));
    assert_shares(&counts, &vec![1.0; workers.len()]);
    assert_idle(router);
}

/// One request without a prompt, from selection to its end; the worker that served it.
#[track_caller]
fn serve(router: &Router, outcome: Outcome, now: u64) -> WorkerId {
    let selection = router.at(now).select(&Request::none()).expect("a worker");
    let (worker, ticket) = (selection.worker(), selection.into_ticket());
    router.at(now).complete(ticket, outcome, Usage::default()).expect("an open ticket");
    worker
}
