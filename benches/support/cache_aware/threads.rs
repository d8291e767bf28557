//! What two threads serve together.

use std::time::Instant;

use pointsman::{Request, Router};

use super::super::bars::{Bar, Limit};
use super::super::fleet::{Fleet, MIB};
use super::super::samples::{Samples, Thoroughness};
use super::super::workloads::Workload;

pub fn measure(thoroughness: Thoroughness) -> Vec<Bar> {
    let workloads = [("W1", Workload::chat(1)), ("W3", Workload::unique(3, 20_000))];
    let mut warm_up = Workload::warm_up();
    let mut samples = Samples::default();
    for _ in 0..thoroughness.rounds {
        for (name, workload) in &workloads {
            for threads in [1, 2] {
                let fleet = Fleet::warm(16, 64 * MIB, &mut warm_up);
                let served = together(&fleet.router, workload, threads);
                samples.note(format!("{name}, {threads} threads"), served);
            }
        }
    }
    for name in samples.names() {
        println!("{name:<44}{:>30} requests per µs", samples.figure(name));
    }
    println!("W3, two threads over one: {}", samples.ratio("W3, 2 threads", "W3, 1 threads"));
    let ratio = samples.ratio("W1, 2 threads", "W1, 1 threads");
    vec![Bar::new("threads: W1, two serve so many times one", Limit::AtLeast(1.7), ratio)]
}

/// Requests per microsecond when so many threads deal a workload out among them.
fn together(router: &Router, workload: &Workload, threads: usize) -> f64 {
    let serve = |thread: usize| {
        let mut fleet = Fleet::of(router.clone());
        for index in (thread..workload.len()).step_by(threads) {
            fleet.serve(&Request::bytes(workload.shared_text(index)));
        }
    };
    let serve = &serve;
    let start = Instant::now();
    std::thread::scope(|scope| {
        (0..threads).for_each(|thread| drop(scope.spawn(move || serve(thread))));
    });
    workload.len() as f64 / start.elapsed().as_micros() as f64
}
