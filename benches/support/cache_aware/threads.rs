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
            let mut router = || Fleet::warm(16, 64 * MIB, &mut warm_up).router;
            samples.note(format!("{name}, one thread"), served(&[router()], workload));
            let shared = router();
            let both = [shared.clone(), shared];
            samples.note(format!("{name}, two threads"), served(&both, workload));
            let apart = [router(), router()];
            samples.note(format!("{name}, two threads, a router each"), served(&apart, workload));
        }
    }
    for name in samples.names() {
        println!("{name:<44}{:>30} requests per µs", samples.figure(name));
    }
    // What the machine has to give: nothing is shared then but its caches and its memory.
    for name in
        ["W1, two threads, a router each", "W3, two threads, a router each", "W3, two threads"]
    {
        println!(
            "{name} over one: {}",
            samples.ratio(name, &format!("{}, one thread", &name[..2]))
        );
    }
    let ratio = samples.ratio("W1, two threads", "W1, one thread");
    vec![Bar::new("threads: W1, two serve so many times one", Limit::AtLeast(1.7), ratio)]
}

/// Requests per microsecond when a thread per router deals a workload out among them.
fn served(routers: &[Router], workload: &Workload) -> f64 {
    let serve = |thread: usize| {
        let mut fleet = Fleet::of(routers[thread].clone());
        for index in (thread..workload.len()).step_by(routers.len()) {
            fleet.serve(&Request::bytes(workload.shared_text(index)));
        }
    };
    let serve = &serve;
    let start = Instant::now();
    std::thread::scope(|scope| {
        (0..routers.len()).for_each(|thread| drop(scope.spawn(move || serve(thread))));
    });
    workload.len() as f64 / start.elapsed().as_micros() as f64
}
