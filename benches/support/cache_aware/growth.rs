//! What a request costs when the tree holds a hundred times as much.

use super::super::bars::{Bar, Limit};
use super::super::fleet::{Fleet, MIB};
use super::super::samples::{Samples, Thoroughness};
use super::super::workloads::Workload;

const COUNTS: [usize; 3] = [1_000, 10_000, 100_000];
/// Room for all prompts of the largest count: 4 nodes each.
const BUDGET: usize = 64 * MIB;

pub fn measure(thoroughness: Thoroughness) -> Vec<Bar> {
    let mut workloads = COUNTS.map(|count| (count, Workload::unique(3, count)));
    let mut warm_up = Workload::warm_up();
    let mut samples = Samples::default();
    for _ in 0..thoroughness.rounds {
        for (count, workload) in &mut workloads {
            // Passes over few prompts are repeated, each with a tree of its own.
            let passes = 10_000usize.div_ceil(*count);
            let pass = |_| Fleet::warm(16, BUDGET, &mut warm_up).texts(workload);
            samples.note(count.to_string(), (0..passes).map(pass).sum::<f64>() / passes as f64);
        }
    }
    for count in COUNTS {
        let figure = samples.figure(&count.to_string());
        println!("{:<44}{figure:>30} ns", format!("W3, text, {count} prompts"));
    }
    let ratio = samples.ratio("100000", "1000");
    vec![Bar::new("growth: W3, 100,000 prompts over 1,000", Limit::AtMost(2.0), ratio)]
}
