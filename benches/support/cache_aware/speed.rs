//! Match, pick and remember, on the three workloads.

use pointsman::prefix::{Fingerprinter, HashKey, Unit};

use super::super::allocations::Counts;
use super::super::fleet::{Fleet, MIB, per_text, per_tokens};
use super::super::samples::{Samples, Thoroughness};
use super::super::workloads::Workload;

pub const WORKERS: usize = 16;

/// What one pass over a workload took.
pub struct Pass {
    /// Nanoseconds per request.
    pub time: f64,
    pub allocations: f64,
    /// Bytes held at the end.
    pub bytes: f64,
}

impl Pass {
    /// Of a store that is made, used over the whole workload, and then weighed.
    pub fn of<S>(
        workload: &mut Workload,
        make: impl FnOnce() -> S,
        pass: impl FnOnce(&mut S, &mut Workload) -> f64,
    ) -> Pass {
        let empty = Counts::now();
        let mut store = make();
        let before = Counts::now();
        let time = pass(&mut store, workload);
        let after = Counts::now();
        let (allocations, _) = after.per_operation(before, workload.len() as u64);
        Pass { time, allocations, bytes: (after.bytes - empty.bytes) as f64 }
    }
}

/// Somebody who does it.
pub struct Contestant {
    pub name: &'static str,
    /// A pass over texts or tokens, from nothing.
    pub pass: fn(&mut Workload) -> Pass,
    pub tokens: bool,
}

/// The library, and what it could not do without.
pub const OURS: [Contestant; 4] = [
    Contestant { name: "router", pass: router_texts, tokens: false },
    Contestant { name: "router", pass: router_tokens, tokens: true },
    Contestant { name: "(hashing alone)", pass: hash_texts, tokens: false },
    Contestant { name: "(hashing alone)", pass: hash_tokens, tokens: true },
];

/// All contestants in turn, round by round. Figures are named `text W1: router` and so on.
pub fn measure(thoroughness: Thoroughness, contestants: &[Contestant]) -> Samples {
    let mut samples = Samples::default();
    let makers: [fn() -> Workload; 3] =
        [|| Workload::chat(1), || Workload::long_context(2), || Workload::unique(3, 20_000)];
    println!("{:<52}{:>30}   allocations, bytes held per unique prompt byte", "", "ns per request");
    for (number, make) in makers.into_iter().enumerate() {
        let mut workload = make();
        workload.tokenize();
        let mut rest = Vec::new();
        for round in 0..thoroughness.rounds {
            for contestant in contestants {
                let pass = (contestant.pass)(&mut workload);
                let name = name(contestant.tokens, number + 1, contestant.name);
                samples.note(&name, pass.time);
                if round == 0 {
                    let bytes = pass.bytes / workload.unique_bytes as f64;
                    rest.push((name, pass.allocations, bytes));
                }
            }
        }
        for (name, allocations, bytes) in rest {
            let figure = samples.figure(&name).to_string();
            println!("{name:<52}{figure:>30}   {allocations:.1}, {bytes:.2}");
        }
    }
    samples
}

/// The name of a figure.
pub fn name(tokens: bool, workload: usize, contestant: &str) -> String {
    format!("{} W{workload}: {contestant}", if tokens { "tokens" } else { "text" })
}

fn router_texts(workload: &mut Workload) -> Pass {
    router(workload, Fleet::texts)
}

fn router_tokens(workload: &mut Workload) -> Pass {
    router(workload, Fleet::tokens)
}

/// The tree's memory is taken at once; held is the part that is in use.
fn router(workload: &mut Workload, serve: fn(&mut Fleet, &mut Workload) -> f64) -> Pass {
    let mut used = 0.0;
    let pass = Pass::of(
        workload,
        || Fleet::new(WORKERS, 64 * MIB),
        |fleet, workload| {
            let time = serve(fleet, workload);
            let tree = fleet.router.metrics().tree;
            used = tree.held_bytes as f64 * tree.nodes() as f64 / tree.node_capacity as f64;
            time
        },
    );
    Pass { bytes: used, ..pass }
}

fn hash_texts(workload: &mut Workload) -> Pass {
    let key = HashKey::from_bytes([7; 32]);
    let mut blocks = vec![0; 4096];
    let hash = |prompt: &[u8]| {
        let mut printer = Fingerprinter::new(&key, Unit::Text, Default::default(), &mut blocks);
        printer.push(prompt);
        std::hint::black_box(printer.finish(1, 2));
    };
    Pass { time: per_text(workload, hash), allocations: 0.0, bytes: 0.0 }
}

fn hash_tokens(workload: &mut Workload) -> Pass {
    let key = HashKey::from_bytes([7; 32]);
    let mut blocks = vec![0; 4096];
    let hash = |prompt: &[u32]| {
        let mut printer = Fingerprinter::new(&key, Unit::Tokens, Default::default(), &mut blocks);
        printer.push_tokens(prompt);
        std::hint::black_box(printer.finish(1, 2));
    };
    Pass { time: per_tokens(workload, hash), allocations: 0.0, bytes: 0.0 }
}
