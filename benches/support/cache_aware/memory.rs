//! How much of what workers hold a small tree still knows.

use std::collections::HashMap;

use pointsman::internals::PrefixTree;
use pointsman::{Request, Router, WorkerId};

use super::super::allocations::Counts;
use super::super::bars::{Bar, Limit};
use super::super::fleet::Fleet;
use super::super::measure::Figure;
use super::super::workloads::{Random, Workload};
use super::workers::{make_hot, systems};

/// Tokens that a block of text is taken for.
const BLOCK: u32 = 32;

/// Which workers were ever sent which block: exact, without a bound.
#[derive(Default)]
struct Exact {
    holders: HashMap<u64, [u64; 16]>,
}

impl Exact {
    fn leading(&self, blocks: &[u64], worker: WorkerId) -> u32 {
        let slot = worker.slot();
        let holds = |block| {
            self.holders.get(block).is_some_and(|bits| bits[slot / 64] >> (slot % 64) & 1 == 1)
        };
        blocks.iter().take_while(|block| holds(block)).count() as u32
    }

    fn send(&mut self, blocks: &[u64], worker: WorkerId) {
        let slot = worker.slot();
        for &block in blocks {
            self.holders.entry(block).or_default()[slot / 64] |= 1 << (slot % 64);
        }
    }
}

/// A budget of .30 bytes per unique prompt byte; each workload once in order and once at random.
pub fn measure() -> Vec<Bar> {
    let (mut known, mut bytes) = (Vec::new(), Vec::new());
    // Chat: all 64 system prompts are hot. Nothing shared: the first prompt is.
    for (workload, hot) in [(Workload::chat(1), 64), (Workload::unique(3, 20_000), 1)] {
        for workers in [16, 1024] {
            let budget = workload.unique_bytes * 3 / 10;
            let held = tree_bytes(budget, workers) as f64 / budget as f64;
            let at = format!("{}, {workers} workers", workload.name);
            bytes.push((at.clone(), Figure::exactly(held)));
            let hot = systems(&workload, if workers == 1024 { hot } else { 0 });
            let mut rig = Rig::new(workers, budget);
            rig.make_hot(&hot);
            for order in ["in order", "at random"] {
                // Where nothing is sent twice, nothing can be known.
                let Some(share) = rig.pass(&workload, order == "at random") else { continue };
                let at = format!("{at}, {order}");
                println!("{at:<52}{:>21.2}% of what is held is known", 100.0 * share);
                known.push((at, Figure::exactly(share)));
            }
        }
    }
    let known_of = "memory: share matched at .30 bytes per unique prompt byte".to_owned();
    let whole = "memory: the tree's bytes, by the allocator, over the budget".to_owned();
    vec![
        Bar { what: known_of, limit: Limit::AtLeast(0.95), figures: known },
        Bar { what: whole, limit: Limit::AtMost(1.0), figures: bytes },
    ]
}

/// Bytes that a tree takes from the allocator.
fn tree_bytes(budget: usize, workers: usize) -> i64 {
    let before = Counts::now().bytes;
    let tree = PrefixTree::new(budget, workers).expect("the budget is large enough");
    let held = Counts::now().bytes - before;
    drop(tree);
    held
}

/// A router with a small tree, and what it ought to know.
struct Rig {
    fleet: Fleet,
    exact: Exact,
    random: Random,
    buffer: Vec<u64>,
}

impl Rig {
    fn new(workers: usize, budget: usize) -> Rig {
        let fleet = Fleet::new(workers, budget);
        Rig { fleet, exact: Exact::default(), random: Random::new(5), buffer: vec![0; 256] }
    }

    fn make_hot(&mut self, prompts: &[&[u8]]) {
        make_hot(&mut self.fleet, prompts);
        for worker in self.fleet.router.workers() {
            for prompt in prompts {
                let blocks = print(&self.fleet.router, prompt, &mut self.buffer);
                self.exact.send(blocks, worker.info.id);
            }
        }
    }

    /// The share of the blocks held by the chosen workers that the router knew of, to within one
    /// block per request.
    fn pass(&mut self, workload: &Workload, at_random: bool) -> Option<f64> {
        let (mut held, mut known) = (0u64, 0u64);
        for index in 0..workload.len() {
            let index = if at_random { self.random.below(workload.len()) } else { index };
            let prompt = workload.shared_text(index);
            let (worker, tokens) = self.fleet.serve(&Request::bytes(prompt));
            let matched = tokens.div_ceil(BLOCK);
            let blocks = print(&self.fleet.router, prompt, &mut self.buffer);
            let holds = self.exact.leading(blocks, worker);
            assert!(matched <= holds, "{matched} blocks claimed of {holds}");
            held += u64::from(holds);
            known += u64::from(if matched + 1 >= holds { holds } else { matched });
            self.exact.send(blocks, worker);
        }
        (held > 0).then(|| known as f64 / held as f64)
    }
}

fn print<'b>(router: &Router, prompt: &[u8], buffer: &'b mut [u64]) -> &'b [u64] {
    let printed = router.fingerprint(&Request::bytes(prompt), buffer);
    printed.expect("text can always be read").blocks()
}
