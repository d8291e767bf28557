//! Match, pick and remember, on the three workloads.

use pointsman::prefix::{Fingerprinter, HashKey, Unit};

use super::super::allocations::Counts;
use super::super::fleet::{Fleet, MIB, per_text, per_tokens};
use super::super::samples::{Samples, Thoroughness};
use super::super::workloads::Workload;
use super::floor;

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
    /// Of a store that serves the warm-up, then the workload, and is weighed in between and at the
    /// end.
    pub fn of<S>(
        workloads: &mut Workloads,
        mut store: S,
        mut pass: impl FnMut(&mut S, &mut Workload) -> f64,
    ) -> Pass {
        pass(&mut store, &mut workloads.warm_up);
        let before = Counts::now();
        let time = pass(&mut store, &mut workloads.measured);
        let after = Counts::now();
        let (allocations, _) = after.per_operation(before, workloads.measured.len() as u64);
        Pass { time, allocations, bytes: (after.bytes - before.bytes) as f64 }
    }
}

/// The workloads that every contestant serves.
pub struct Workloads {
    pub warm_up: Workload,
    pub measured: Workload,
}

/// One way to serve the workloads.
pub struct Contestant {
    pub name: &'static str,
    /// A pass over texts or tokens.
    pub pass: fn(&mut Workloads) -> Pass,
    pub tokens: bool,
}

/// The library, and the parts of its work that cannot be left out.
pub const OURS: [Contestant; 5] = [
    Contestant { name: "router", pass: router_texts, tokens: false },
    Contestant { name: "router", pass: router_tokens, tokens: true },
    Contestant { name: "(router, memory untouched before)", pass: untouched, tokens: false },
    Contestant { name: "(hashing alone)", pass: hash_texts, tokens: false },
    Contestant { name: "(hashing alone)", pass: hash_tokens, tokens: true },
];

const WORKLOADS: [fn() -> Workload; 3] =
    [|| Workload::chat(1), || Workload::long_context(2), || Workload::unique(3, 20_000)];

/// All contestants in turn, round by round. Figures are named `text W1: router` and so on.
pub fn measure(thoroughness: Thoroughness, contestants: &[Contestant]) -> Samples {
    let mut samples = Samples::default();
    floor::measure();
    println!("{:<52}{:>30}   allocations, bytes held per unique prompt byte", "", "ns per request");
    for (number, make) in WORKLOADS.into_iter().enumerate() {
        let mut workloads = Workloads { warm_up: Workload::warm_up(), measured: make() };
        workloads.warm_up.tokenize();
        workloads.measured.tokenize();
        let mut rest = Vec::new();
        for round in 0..thoroughness.rounds {
            for contestant in contestants {
                let pass = (contestant.pass)(&mut workloads);
                let name = name(contestant.tokens, number + 1, contestant.name);
                samples.note(&name, pass.time);
                if round == 0 {
                    let bytes = pass.bytes / workloads.measured.unique_bytes as f64;
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

fn router_texts(workloads: &mut Workloads) -> Pass {
    router(workloads, Fleet::texts)
}

fn router_tokens(workloads: &mut Workloads) -> Pass {
    router(workloads, Fleet::tokens)
}

/// The tree's memory is taken at once; held is the part that is in use.
fn router(workloads: &mut Workloads, serve: fn(&mut Fleet, &mut Workload) -> f64) -> Pass {
    let fleet = Fleet::new(WORKERS, 64 * MIB);
    let used = || {
        let tree = fleet.router.metrics().tree;
        tree.held_bytes as f64 * tree.nodes() as f64 / tree.node_capacity as f64
    };
    let mut before = 0.0;
    let pass = Pass::of(workloads, Fleet::of(fleet.router.clone()), |fleet, workload| {
        before = used();
        serve(fleet, workload)
    });
    Pass { bytes: used() - before, ..pass }
}

/// What the same costs a router that has just been made.
fn untouched(workloads: &mut Workloads) -> Pass {
    let time = Fleet::new(WORKERS, 64 * MIB).texts(&mut workloads.measured);
    Pass { time, allocations: 0.0, bytes: 0.0 }
}

fn hash_texts(workloads: &mut Workloads) -> Pass {
    let key = HashKey::from_bytes([7; 32]);
    let mut blocks = vec![0; 4096];
    let hash = |prompt: &[u8]| {
        let mut printer = Fingerprinter::new(&key, Unit::Text, Default::default(), &mut blocks);
        printer.push(prompt);
        std::hint::black_box(printer.finish(1, 2));
    };
    Pass { time: per_text(&mut workloads.measured, hash), allocations: 0.0, bytes: 0.0 }
}

fn hash_tokens(workloads: &mut Workloads) -> Pass {
    let key = HashKey::from_bytes([7; 32]);
    let mut blocks = vec![0; 4096];
    let hash = |prompt: &[u32]| {
        let mut printer = Fingerprinter::new(&key, Unit::Tokens, Default::default(), &mut blocks);
        printer.push_tokens(prompt);
        std::hint::black_box(printer.finish(1, 2));
    };
    Pass { time: per_tokens(&mut workloads.measured, hash), allocations: 0.0, bytes: 0.0 }
}

/// One pass, for profilers: nanoseconds per request, and of hashing alone.
pub fn once(tokens: bool, workload: usize) -> (f64, f64) {
    let mut measured = WORKLOADS[workload - 1]();
    measured.tokenize();
    let mut warm_up = Workload::warm_up();
    warm_up.tokenize();
    let mut workloads = Workloads { warm_up, measured };
    let [pass, hash] =
        if tokens { [router_tokens, hash_tokens] } else { [router_texts, hash_texts] };
    (pass(&mut workloads).time, hash(&mut workloads).time)
}
