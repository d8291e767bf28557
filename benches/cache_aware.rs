//! What the whole cache-aware select costs: `Router::select` + `complete` with the default rule,
//! eviction, tickets and counters included, and 64 requests in flight.
//!
//! ```text
//! cargo bench --bench cache_aware                              everything
//! cargo bench --bench cache_aware -- --quick speed threads     some families, fewer rounds
//! cargo bench --bench cache_aware -- --pass text 1             W1 once, for a profiler; or tokens
//! ```
//!
//! Families: speed (the three workloads), growth, long (the longest prompts), full (a tree that has to
//! evict), workers (8 to 1,024, also with prefixes that all of them hold), threads, body (JSON), memory.
//! Figures are the median over rounds, followed by the quartiles; ratios are taken within a round.

// A benchmark whose set-up fails has nothing to measure.
#![allow(clippy::expect_used, reason = "a benchmark may panic")]

mod support;

use support::allocations::Counting;
use support::bars::Bar;
use support::cache_aware::{body, full, growth, long, memory, speed, threads, workers};
use support::samples::Thoroughness;

#[global_allocator]
static ALLOCATOR: Counting = Counting { live: false, refuses: false };

type Family = fn(Thoroughness) -> Vec<Bar>;

const FAMILIES: [(&str, Family); 8] = [
    ("speed", |thoroughness| {
        speed::measure(thoroughness, &speed::OURS);
        Vec::new()
    }),
    ("growth", growth::measure),
    ("long", long::measure),
    ("full", full::measure),
    ("workers", workers::measure),
    ("threads", threads::measure),
    ("body", body::measure),
    ("memory", |_| memory::measure()),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let thoroughness = if quick { Thoroughness::QUICK } else { Thoroughness::FULL };
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    if let (true, [unit, number]) = (arguments.contains(&"--pass".into()), &wanted[..]) {
        let number = number.parse().ok().filter(|number| (1..=3).contains(number));
        let number = number.expect("the number of a workload");
        let (time, hashing) = speed::once(*unit == "tokens", number);
        return println!("{time:.0} ns, hashing alone {hashing:.0}");
    }
    for (name, family) in FAMILIES {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            println!("== {name}");
            family(thoroughness).iter().for_each(|bar| println!("{bar}"));
        }
    }
}
