//! The prefix module alone: hashing, and the tree on the three workloads.
//!
//! `cargo bench --bench tree -- [hash] [workloads] [growth] [full] [workers] [threads] [memory]`;
//! without a name all of them. Times are nanoseconds per request for fingerprint, lookup, a
//! trivial choice and remembering; the router's policy, tickets and counters come on top.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/workloads.rs"]
mod workloads;

use std::hint::black_box;
use std::time::Instant;

use pointsman::prefix::{
    BlockSize, Fingerprinter, HashKey, Matches, PrefixTree, Registration, Unit,
};
use workloads::{Random, Workload};

const MIB: usize = 1 << 20;

/// A tree, its workers, and a choice that takes next to no time.
struct Rig {
    key: HashKey,
    tree: PrefixTree,
    registrations: Vec<Registration>,
    turn: usize,
    buffer: Vec<u64>,
}

impl Rig {
    fn new(budget: usize, workers: usize) -> Rig {
        let tree = PrefixTree::new(budget, workers).unwrap();
        let registrations =
            (0..workers as u16).map(|slot| tree.register(slot, None).unwrap()).collect();
        let key = HashKey::from_bytes([7; 32]);
        Rig { key, tree, registrations, turn: 0, buffer: vec![0; 4096] }
    }

    fn text(&mut self, prompt: &[u8]) -> u32 {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut printer =
            Fingerprinter::new(&self.key, Unit::Text, BlockSize::DEFAULT, &mut buffer);
        printer.push(prompt);
        let matched = self.route(printer.finish(0, 0).blocks());
        self.buffer = buffer;
        matched
    }

    fn tokens(&mut self, prompt: &[u32]) -> u32 {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut printer =
            Fingerprinter::new(&self.key, Unit::Tokens, BlockSize::DEFAULT, &mut buffer);
        printer.push_tokens(prompt);
        let matched = self.route(printer.finish(0, 0).blocks());
        self.buffer = buffer;
        matched
    }

    fn route(&mut self, blocks: &[u64]) -> u32 {
        let mut matches = Matches::new();
        self.tree.find(blocks, &mut matches);
        let best = matches.holders().first().copied().unwrap_or_default();
        let slot = if best.blocks > 16 {
            usize::from(best.slot)
        } else {
            self.turn = (self.turn + 1) % self.registrations.len();
            self.turn
        };
        black_box(self.tree.remember(blocks, &matches, slot as u16, self.registrations[slot]));
        best.blocks
    }
}

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let sections: [(&str, fn()); 7] = [
        ("hash", hash),
        ("workloads", workloads),
        ("growth", growth),
        ("full", full),
        ("workers", workers),
        ("threads", threads),
        ("memory", memory),
    ];
    for (name, section) in sections {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            println!("== {name}");
            section();
        }
    }
}

/// Median, lowest and highest of the runs.
fn spread(mut runs: Vec<f64>) -> (f64, f64, f64) {
    runs.sort_by(f64::total_cmp);
    (runs[runs.len() / 2], runs[0], runs[runs.len() - 1])
}

fn hash() {
    let key = HashKey::from_bytes([7; 32]);
    for size in [64, 128, 256] {
        for length in [4096, 128 * 1024] {
            let text: Vec<u8> = (0..length).map(|i| ((i * 31) >> 3) as u8).collect();
            let mut out = vec![0; 4096];
            let mut run = || {
                let start = Instant::now();
                for _ in 0..(8 * MIB) / length {
                    let size = BlockSize::new(size).unwrap();
                    let mut printer = Fingerprinter::new(&key, Unit::Text, size, &mut out);
                    printer.push(black_box(&text));
                    black_box(printer.finish(1, 2));
                }
                (8 * MIB) as f64 / start.elapsed().as_nanos() as f64
            };
            let (median, low, high) = spread((0..25).map(|_| run()).collect());
            println!(
                "block {size}, {length} bytes: {median:.1} GB/s (25 runs, {low:.1}..{high:.1})"
            );
        }
    }
}

/// A clock for long stretches: the time that this thread really ran, where the system tells, so
/// that a busy machine disturbs less.
fn ran_ns() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    match schedstat.split_whitespace().next().and_then(|first| first.parse().ok()) {
        Some(ran) => ran,
        None => {
            static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
            START.get_or_init(Instant::now).elapsed().as_nanos() as f64
        }
    }
}

fn timed(workload: &mut Workload, tokens: bool, rig: &mut Rig) -> f64 {
    let start = ran_ns();
    for index in 0..workload.len() {
        if tokens {
            black_box(rig.tokens(workload.tokens(index)));
        } else {
            black_box(rig.text(workload.text(index)));
        }
    }
    (ran_ns() - start) / workload.len() as f64
}

/// Only the fingerprint: the part that no tree can save.
fn hashing_alone(workload: &mut Workload, key: &HashKey) -> f64 {
    let mut out = vec![0; 4096];
    let start = ran_ns();
    for index in 0..workload.len() {
        let mut printer = Fingerprinter::new(key, Unit::Text, BlockSize::DEFAULT, &mut out);
        printer.push(workload.text(index));
        black_box(printer.finish(0, 0));
    }
    (ran_ns() - start) / workload.len() as f64
}

fn workloads() {
    let all = [Workload::chat(1), Workload::long_context(2), Workload::unique(3, 20_000)];
    for mut workload in all {
        workload.tokenize();
        let (mut text, mut tokens, mut hashing) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..9 {
            let mut rig = Rig::new(64 * MIB, 16);
            text.push(timed(&mut workload, false, &mut rig));
            let mut rig = Rig::new(64 * MIB, 16);
            tokens.push(timed(&mut workload, true, &mut rig));
            hashing.push(hashing_alone(&mut workload, &rig.key));
        }
        for (name, runs) in [("text", text), ("tokens", tokens), ("hashing alone", hashing)] {
            let (median, low, high) = spread(runs);
            println!("{}, {name}: {median:.0} ns (9 runs, {low:.0}..{high:.0})", workload.name);
        }
    }
}

fn growth() {
    let mut base = 0.0;
    for count in [1_000, 10_000, 100_000] {
        let mut workload = Workload::unique(3, count);
        // The system counts in ticks of some milliseconds, so a run is at least 20,000 requests.
        let trees = (20_000 / count).max(1);
        let run = |_| {
            let times =
                (0..trees).map(|_| timed(&mut workload, false, &mut Rig::new(256 * MIB, 16)));
            times.sum::<f64>() / trees as f64
        };
        let (median, low, high) = spread((0..5).map(run).collect());
        base = if base == 0.0 { median } else { base };
        println!(
            "W3, {count} prompts: {median:.0} ns (5 runs, {low:.0}..{high:.0}), {:.2} times 1,000",
            median / base
        );
    }
}

/// Mean and 99th percentile of single requests, in nanoseconds; the clock's own cost included.
fn singles(workload: &mut Workload, rig: &mut Rig) -> (f64, f64) {
    let mut times: Vec<u64> = Vec::with_capacity(workload.len());
    for index in 0..workload.len() {
        let prompt = workload.text(index);
        let start = Instant::now();
        black_box(rig.text(prompt));
        times.push(start.elapsed().as_nanos() as u64);
    }
    let mean = times.iter().sum::<u64>() as f64 / times.len() as f64;
    times.sort_unstable();
    (mean, times[times.len() * 99 / 100] as f64)
}

fn full() {
    let mut first = Workload::unique(3, 20_000);
    let mut second = Workload::unique(4, 20_000);
    let (mut means, mut tails) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        // The same table size twice: in one of them nothing is in the way yet.
        let mut rig = Rig::new(48 * MIB, 16);
        singles(&mut first, &mut rig);
        let room = singles(&mut second, &mut rig);
        let mut rig = Rig::new(6 * MIB, 16);
        singles(&mut first, &mut rig);
        let before = rig.tree.stats().evicted_nodes;
        let full = singles(&mut second, &mut rig);
        assert!(rig.tree.stats().evicted_nodes > before + 79_000);
        means.push(full.0 / room.0);
        tails.push(full.1 / room.1);
        if means.len() == 1 {
            println!(
                "room: mean {:.0}, p99 {:.0}; full: {:.0}, {:.0} ns",
                room.0, room.1, full.0, full.1
            );
        }
    }
    let ((mean, low, high), (p99, p99_low, p99_high)) = (spread(means), spread(tails));
    println!(
        "mean full / room {mean:.2} ({low:.2}..{high:.2}), p99 {p99:.2} ({p99_low:.2}..{p99_high:.2})"
    );
}

fn workers() {
    let mut workload = Workload::chat(1);
    let mut base = 0.0;
    for workers in [8, 64, 512, 1024] {
        let runs = (0..9).map(|_| timed(&mut workload, false, &mut Rig::new(64 * MIB, workers)));
        let (median, low, high) = spread(runs.collect());
        base = if base == 0.0 { median } else { base };
        println!(
            "W1, {workers} workers: {median:.0} ns (9 runs, {low:.0}..{high:.0}), {:.2} times 8",
            median / base
        );
    }
    let mut base = 0.0;
    for workers in [8, 64, 512, 1024] {
        let mut rig = Rig::new(64 * MIB, workers);
        make_hot(&mut workload, &mut rig, 64);
        let runs: Vec<f64> = (0..9).map(|_| timed(&mut workload, false, &mut rig)).collect();
        let (median, low, high) = spread(runs);
        base = if base == 0.0 { median } else { base };
        println!(
            "W1 seen before, system prompts on all of {workers} workers: {median:.0} ns (9 runs, {low:.0}..{high:.0}), {:.2} times 8",
            median / base
        );
    }
}

/// Sends the first 2 KiB of `count` different prompts to every worker.
fn make_hot(workload: &mut Workload, rig: &mut Rig, count: usize) {
    let mut seen = std::collections::HashSet::new();
    for index in 0..workload.len() {
        let system = workload.text(index)[..2048].to_vec();
        if seen.len() == count || !seen.insert(system.clone()) {
            continue;
        }
        let mut out = [0; 16];
        let mut printer = Fingerprinter::new(&rig.key, Unit::Text, BlockSize::DEFAULT, &mut out);
        printer.push(&system);
        let print = printer.finish(0, 0);
        for (slot, &registration) in rig.registrations.iter().enumerate() {
            let mut matches = Matches::new();
            rig.tree.find(print.blocks(), &mut matches);
            rig.tree.remember(print.blocks(), &matches, slot as u16, registration);
        }
    }
}

fn threads() {
    for (name, mut first, mut second) in [
        ("W1", Workload::chat(1), Workload::chat(1)),
        ("W3", Workload::unique(3, 20_000), Workload::unique(4, 20_000)),
    ] {
        let (mut ratios, mut walls) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            let start = Instant::now();
            let one = timed(&mut first, false, &mut Rig::new(64 * MIB, 16));
            let one_wall = start.elapsed().as_nanos() as f64 / first.len() as f64;
            let shared = std::sync::Arc::new(Rig::new(64 * MIB, 16));
            let requests = (first.len() + second.len()) as f64;
            let start = Instant::now();
            let ran: f64 = std::thread::scope(|scope| {
                let threads = [&mut first, &mut second].map(|workload| {
                    let shared = &shared;
                    scope.spawn(move || {
                        let start = ran_ns();
                        for index in 0..workload.len() {
                            share(shared, workload.text(index), index);
                        }
                        ran_ns() - start
                    })
                });
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            walls.push(one_wall / (start.elapsed().as_nanos() as f64 / requests));
            ratios.push(2.0 * one / (ran / requests));
        }
        for (kind, runs) in [("by the clock", walls), ("by time on a processor", ratios)] {
            let (median, low, high) = spread(runs);
            println!(
                "{name}, two threads serve {median:.2} times one {kind} (9 runs, {low:.2}..{high:.2})"
            );
        }
    }
}

fn share(rig: &Rig, prompt: &[u8], turn: usize) {
    let mut buffer = [0; 256];
    let mut printer = Fingerprinter::new(&rig.key, Unit::Text, BlockSize::DEFAULT, &mut buffer);
    printer.push(prompt);
    let print = printer.finish(0, 0);
    let mut matches = Matches::new();
    rig.tree.find(print.blocks(), &mut matches);
    let best = matches.holders().first().copied().unwrap_or_default();
    let slot = if best.blocks > 16 { usize::from(best.slot) } else { turn % 16 };
    rig.tree.remember(print.blocks(), &matches, slot as u16, rig.registrations[slot]);
}

/// The share of exactly matched bytes that a budget of .30 bytes per unique prompt byte keeps to
/// within one block.
fn memory() {
    // Chat: all 64 system prompts are hot. Nothing shared: the first prompt is.
    let sets = [(Workload::chat(1), 64), (Workload::unique(3, 20_000), 1)];
    for (mut workload, hot) in sets {
        for workers in [16, 1024] {
            let budget = workload.unique_bytes * 3 / 10;
            let mut small = Rig::new(budget, workers);
            let mut large = Rig::new(512 * MIB, workers);
            if workers == 1024 {
                make_hot(&mut workload, &mut small, hot);
                make_hot(&mut workload, &mut large, hot);
            }
            let mut random = Random::new(5);
            for pass in 0..2 {
                let (mut exact, mut kept) = (0, 0);
                for index in 0..workload.len() {
                    let index = if pass == 0 { index } else { random.below(workload.len()) };
                    let full = large.text(workload.text(index));
                    let found = small.text(workload.text(index));
                    exact += u64::from(full);
                    kept += if found + 1 >= full { u64::from(full) } else { u64::from(found) };
                }
                let stats = small.tree.stats();
                println!(
                    "{}, {workers} workers, pass {}: {:.2}% of {exact} blocks, {} of {budget} bytes, {} of {} nodes, {} evicted",
                    workload.name,
                    pass + 1,
                    100.0 * kept as f64 / exact.max(1) as f64,
                    stats.held_bytes,
                    stats.nodes(),
                    stats.node_capacity,
                    stats.evicted_nodes
                );
            }
        }
    }
}
