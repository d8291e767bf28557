//! The least-work rule through the router: what it prefers, and that no numbers drive it mad.

mod extremes;
mod knobs;
mod room;
mod rule;
mod vectors;

use pointsman::{
    PolicyConfig, Router, RouterConfig, WorkerId, WorkerSpec, policy::LeastWorkConfig,
};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;

fn router(workers: usize, rule: LeastWorkConfig) -> Router {
    let mut config = RouterConfig::default();
    config.policy = PolicyConfig::least_work(rule);
    config.seed = Some(7);
    config.tree.budget_bytes = 1 << 20;
    config.tree.hash_key = Some("07".repeat(32));
    let router = Router::new(config).unwrap();
    for i in 0..workers {
        router.add_worker(WorkerSpec::new(format!("http://worker-{i}"))).unwrap();
    }
    router
}

fn tokens(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| i.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)).collect()
}

fn gauge(router: &Router, worker: WorkerId, name: &str) -> f64 {
    let metrics = router.metrics();
    let row = metrics.workers.iter().find(|row| row.info.id == worker).unwrap();
    row.policy_gauges.iter().find(|(other, _)| *other == name).unwrap().1
}
