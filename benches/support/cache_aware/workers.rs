//! What a request costs with 8 to 1,024 workers.

use pointsman::{Request, WorkerId};

use super::super::bars::{Bar, Limit};
use super::super::fleet::{Fleet, MIB};
use super::super::samples::{Samples, Thoroughness};
use super::super::workloads::Workload;

const SIZES: [usize; 4] = [8, 64, 512, 1024];
/// Bytes of a system prompt of W1.
const SYSTEM: usize = 2048;

pub fn measure(thoroughness: Thoroughness) -> Vec<Bar> {
    let (mut workload, mut warm_up) = (Workload::chat(1), Workload::warm_up());
    let mut samples = Samples::default();
    for _ in 0..thoroughness.rounds {
        for workers in SIZES {
            let mut fleet = Fleet::warm(workers, 64 * MIB, &mut warm_up);
            samples.note(format!("W1, {workers:>4} workers"), fleet.texts(&mut workload));
            let mut fleet = Fleet::warm(workers, 64 * MIB, &mut warm_up);
            make_hot(&mut fleet, &systems(&workload, 64));
            let name = format!("W1, {workers:>4} workers, system prompts on all");
            samples.note(name, fleet.texts(&mut workload));
        }
    }
    for name in samples.names() {
        println!("{name:<44}{:>30} ns", samples.figure(name));
    }
    let plain = samples.ratio("W1, 1024 workers", "W1,    8 workers");
    let hot = samples.ratio(
        "W1, 1024 workers, system prompts on all",
        "W1,    8 workers, system prompts on all",
    );
    let figures = vec![("plain".to_owned(), plain), ("system prompts on all".to_owned(), hot)];
    let what = "workers: W1, 1,024 over 8".to_owned();
    vec![Bar { what, limit: Limit::AtMost(3.0), figures }]
}

/// The first `count` different system prompts of a workload.
pub fn systems(workload: &Workload, count: usize) -> Vec<&[u8]> {
    let mut systems: Vec<&[u8]> = Vec::new();
    for index in 0..workload.len() {
        let system = &workload.shared_text(index)[..SYSTEM];
        if !systems.contains(&system) {
            systems.push(system);
        }
        if systems.len() == count {
            break;
        }
    }
    systems
}

/// Makes every worker hold every one of these prompts.
pub fn make_hot(fleet: &mut Fleet, prompts: &[&[u8]]) {
    let workers: Vec<WorkerId> = fleet.router.workers().iter().map(|w| w.info.id).collect();
    for prompt in prompts {
        for worker in &workers {
            fleet.serve(&Request::bytes(prompt).allow(std::slice::from_ref(worker)));
        }
    }
}
