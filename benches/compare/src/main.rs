//! The library beside its peers, on the same workloads, in the same process, in turn: every bar that it
//! is held to, as a ratio, with "meets" or "falls short". Exits with 1 if one falls short.
//!
//! ```text
//! cargo run --release                          everything, nine rounds
//! cargo run --release -- --quick               three rounds, under two minutes
//! cargo run --release -- speed threads         some families; `list` names them
//! ```
//!
//! One file per family: those that need no peer lie in `benches/support/cache_aware`, and are printed
//! by `cargo bench --bench cache_aware`, too.

#![allow(clippy::expect_used, reason = "a benchmark may panic")]

#[path = "../../support/mod.rs"]
mod support;

mod adapter;
mod allocations;
mod c_abi;
mod peers;
mod policies;
mod speed;

use std::process::ExitCode;

use support::allocations::Counting;
use support::bars::Bar;
use support::cache_aware::{body, full, growth, memory, threads, workers};
use support::samples::Thoroughness;

#[global_allocator]
static ALLOCATOR: Counting = Counting { live: false, refuses: false };

type Family = fn(Thoroughness) -> Vec<Bar>;

const FAMILIES: [(&str, Family); 10] = [
    ("policies", policies::measure),
    ("speed", speed::measure),
    ("memory", |_| memory::measure()),
    ("growth", growth::measure),
    ("full", full::measure),
    ("workers", workers::measure),
    ("threads", threads::measure),
    ("allocations", |_| allocations::measure()),
    ("body", body::measure),
    ("c_abi", c_abi::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let thoroughness = if quick { Thoroughness::QUICK } else { Thoroughness::FULL };
    let wanted: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| *argument != "--quick").collect();
    let known = |wanted: &&str| FAMILIES.iter().any(|(name, _)| name == wanted);
    if !wanted.iter().all(known) {
        FAMILIES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::from(if wanted == ["list"] { 0 } else { 2 });
    }
    println!("{} rounds; median [quartiles]\n", thoroughness.rounds);
    let mut bars = Vec::new();
    for (name, family) in FAMILIES {
        if wanted.is_empty() || wanted.contains(&name) {
            println!("== {name}");
            bars.extend(family(thoroughness));
            println!();
        }
    }
    println!("== bars");
    bars.iter().for_each(|bar| println!("{bar}"));
    let short = bars.iter().filter(|bar| !bar.is_met()).count();
    println!("{short} of {} bars fall short", bars.len());
    ExitCode::from(u8::from(short > 0))
}
