//! The prefix module alone: hashing, and the tree without router, policy, tickets and counters around
//! it. The whole cache-aware select is in the bench `cache_aware`.
//!
//! `cargo bench --bench tree -- [hash] [workloads] [hot]`; without a name all of them. Times are
//! nanoseconds per request for fingerprint, lookup, a trivial choice and remembering: medians over
//! interleaved rounds, followed by the quartiles.

#![allow(clippy::expect_used, reason = "a benchmark may panic")]

mod support;

use std::hint::black_box;
use std::time::Instant;

use pointsman::{
    internals::{Matches, PrefixTree, Registration},
    prefix::{BlockSize, Fingerprinter, HashKey, Unit},
};
use support::allocations::Counting;
use support::cache_aware::workers::systems;
use support::fleet::{MIB, per_text, per_tokens};
use support::measure::Figure;
use support::samples::{Samples, Thoroughness};
use support::workloads::Workload;

#[global_allocator]
static ALLOCATOR: Counting = Counting { live: false, refuses: false };

const ROUNDS: usize = Thoroughness::FULL.rounds;

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
        let tree = PrefixTree::new(budget, workers).expect("the budget is large enough");
        let register = |slot| tree.register(slot, None).expect("the slot exists");
        let registrations = (0..workers as u16).map(register).collect();
        let key = HashKey::from_bytes([7; 32]);
        Rig { key, tree, registrations, turn: 0, buffer: vec![0; 4096] }
    }

    fn text(&mut self, prompt: &[u8]) {
        self.route(Unit::Text, |printer| printer.push(prompt));
    }

    fn tokens(&mut self, prompt: &[u32]) {
        self.route(Unit::Tokens, |printer| printer.push_tokens(prompt));
    }

    fn route(&mut self, unit: Unit, push: impl FnOnce(&mut Fingerprinter<'_, '_>)) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut printer = Fingerprinter::new(&self.key, unit, BlockSize::DEFAULT, &mut buffer);
        push(&mut printer);
        let print = printer.finish(0, 0);
        let mut matches = Matches::new();
        self.tree.find(print.blocks(), &mut matches);
        let best = matches.holders().first().copied().unwrap_or_default();
        self.turn = (self.turn + 1) % self.registrations.len();
        let slot = if best.blocks > 16 { usize::from(best.slot) } else { self.turn };
        let registration = self.registrations[slot];
        black_box(self.tree.remember(print.blocks(), &matches, slot as u16, registration));
        self.buffer = buffer;
    }
}

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let sections: [(&str, fn()); 3] = [("hash", hash), ("workloads", workloads), ("hot", hot)];
    for (name, section) in sections {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            println!("== {name}");
            section();
        }
    }
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
                    let size = BlockSize::new(size).expect("a size from 64 to 256");
                    let mut printer = Fingerprinter::new(&key, Unit::Text, size, &mut out);
                    printer.push(black_box(&text));
                    black_box(printer.finish(1, 2));
                }
                (8 * MIB) as f64 / start.elapsed().as_nanos() as f64
            };
            let figure = Figure::of((0..25).map(|_| run()).collect()).expect("25 runs");
            println!("{:<44}{figure:>30} GB/s", format!("block {size}, {length} bytes"));
        }
    }
}

fn workloads() {
    let mut all = [Workload::chat(1), Workload::long_context(2), Workload::unique(3, 20_000)];
    all.iter_mut().for_each(Workload::tokenize);
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        for workload in &mut all {
            let name = workload.name;
            let mut rig = Rig::new(64 * MIB, 16);
            samples.note(format!("{name}, text"), per_text(workload, |prompt| rig.text(prompt)));
            let mut rig = Rig::new(64 * MIB, 16);
            samples
                .note(format!("{name}, tokens"), per_tokens(workload, |prompt| rig.tokens(prompt)));
        }
    }
    print(&samples);
}

/// System prompts that all workers hold.
fn hot() {
    let mut workload = Workload::chat(1);
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        for workers in [8, 64, 512, 1024] {
            let mut rig = Rig::new(64 * MIB, workers);
            for system in systems(&workload, 64) {
                // Too short to bind a request to a holder, so one worker after another gets it.
                (0..workers).for_each(|_| rig.text(system));
            }
            let name = format!("W1, system prompts on all of {workers:>4} workers");
            samples.note(name, per_text(&mut workload, |prompt| rig.text(prompt)));
        }
    }
    print(&samples);
}

fn print(samples: &Samples) {
    for name in samples.names() {
        println!("{name:<44}{:>30} ns", samples.figure(name));
    }
}
