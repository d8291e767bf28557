//! What the same requests as in `tests/c/cost.c` cost when Rust asks: the ground that the C
//! interface's own cost is measured from.

use std::time::Instant;

use pointsman_core::{Outcome, PolicyConfig, Request, Router, RouterConfig, Usage, WorkerSpec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let policy = arguments.next().unwrap_or("round_robin".to_owned());
    let requests: u64 = arguments.next().unwrap_or("1000000".to_owned()).parse()?;
    let timed = arguments.next().is_some();
    let router = Router::new(RouterConfig::default())?;
    router.set_policy(&PolicyConfig::named(&policy))?;
    for i in 0..8 {
        router.add_worker(WorkerSpec::new(format!("w{i}")))?;
    }
    let start = Instant::now();
    let mut sum = 0;
    for i in 0..requests {
        let now = 1_000_000 + i;
        let chosen = router.select_at(&Request::none(), now)?;
        sum += chosen.worker().to_raw();
        chosen.complete_at(Outcome::Success, Usage::default(), now)?;
    }
    let spent = start.elapsed();
    assert_ne!(sum, 0);
    if timed {
        println!("{:.1} ns", spent.as_nanos() as f64 / requests as f64);
    }
    Ok(())
}
