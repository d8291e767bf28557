//! What a request costs when every insert has to evict.

use std::time::Instant;

use pointsman::Request;

use super::super::bars::{Bar, Limit};
use super::super::fleet::{Fleet, MIB};
use super::super::samples::{Samples, Thoroughness};
use super::super::workloads::Workload;

/// About 190,000 nodes. A prompt takes four.
const BUDGET: usize = 24 * MIB;
const MEASURED: usize = 10_000;
/// Touch the memory, so that the first figure is not about the system's page faults.
const BEFORE_ROOM: usize = 5_000;
/// As many prompts as fill the tree one and a half times.
const BEFORE_FULL: usize = 70_000;

/// The same tree twice: while it has room, and when it has none.
pub fn measure(thoroughness: Thoroughness) -> Vec<Bar> {
    let mut prompts = Workload::unique(3, BEFORE_ROOM + MEASURED + BEFORE_FULL + MEASURED);
    let mut samples = Samples::default();
    for _ in 0..thoroughness.rounds {
        let mut fleet = Fleet::new(16, BUDGET);
        let mut next = 0;
        for (name, before) in [("room", BEFORE_ROOM), ("full", BEFORE_FULL)] {
            serve(&mut fleet, &mut prompts, &mut next, before);
            let evicted = fleet.router.metrics().tree.evicted_nodes;
            let mut times = serve(&mut fleet, &mut prompts, &mut next, MEASURED);
            let evictions = fleet.router.metrics().tree.evicted_nodes - evicted;
            assert_eq!(evictions > 3 * MEASURED as u64, name == "full", "{name}: {evictions}");
            times.sort_unstable();
            let mean = times.iter().sum::<u64>() as f64 / times.len() as f64;
            samples.note(format!("{name}: mean"), mean);
            samples.note(format!("{name}: p99"), times[times.len() * 99 / 100] as f64);
        }
    }
    println!("single requests, the clock's own cost included:");
    for name in samples.names() {
        println!("{:<44}{:>30} ns", format!("W3, text, {name}"), samples.figure(name));
    }
    let mean = samples.ratio("full: mean", "room: mean");
    let tail = samples.ratio("full: p99", "room: p99");
    vec![
        Bar::new("full tree: mean over that of a tree with room", Limit::AtMost(1.3), mean),
        Bar::new("full tree: p99 over that of a tree with room", Limit::AtMost(1.5), tail),
    ]
}

/// Nanoseconds of each request.
fn serve(fleet: &mut Fleet, prompts: &mut Workload, next: &mut usize, count: usize) -> Vec<u64> {
    let one = |index| {
        let request = Request::bytes(prompts.text(index));
        let start = Instant::now();
        fleet.serve(&request);
        start.elapsed().as_nanos() as u64
    };
    let times = (*next..*next + count).map(one).collect();
    *next += count;
    times
}
