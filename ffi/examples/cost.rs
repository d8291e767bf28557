//! What the same requests as in `tests/c/cost.c` cost when Rust asks: the ground that the C
//! interface's own cost is measured from. "floor" for a policy is what no round-robin can do without:
//! one atomic increment and one load.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pointsman_core::{Outcome, PolicyConfig, Request, Router, RouterConfig, Usage, WorkerSpec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let policy = arguments.next().unwrap_or("round_robin".to_owned());
    let requests: u64 = arguments.next().unwrap_or("1000000".to_owned()).parse()?;
    let timed = arguments.next().is_some();
    let spent = if policy == "floor" { floor(requests) } else { routed(&policy, requests)? };
    if timed {
        println!("{:.1} ns", spent.as_nanos() as f64 / requests as f64);
    }
    Ok(())
}

fn routed(policy: &str, requests: u64) -> Result<Duration, Box<dyn std::error::Error>> {
    let router = Router::new(RouterConfig::default())?;
    router.set_policy(&PolicyConfig::named(policy))?;
    for i in 0..8 {
        router.add_worker(WorkerSpec::new(format!("w{i}")))?;
    }
    let start = Instant::now();
    let mut sum = 0;
    for i in 0..requests {
        let now = 1_000_000 + i;
        let chosen = router.at(now).select(&Request::none())?;
        sum += chosen.worker().to_raw();
        router.at(now).complete(chosen, Outcome::Success, Usage::default())?;
    }
    let spent = start.elapsed();
    assert_ne!(sum, 0);
    Ok(spent)
}

fn floor(requests: u64) -> Duration {
    let counter = AtomicUsize::new(0);
    let loads: Vec<AtomicUsize> = (0..8).map(|_| AtomicUsize::new(0)).collect();
    let start = Instant::now();
    for _ in 0..requests {
        let turn = counter.fetch_add(1, Relaxed) & (loads.len() - 1);
        black_box(loads[turn].load(Relaxed));
    }
    start.elapsed()
}
