//! Shared by the tests: routers, workers, and the law of large numbers.

use std::collections::HashMap;
use std::sync::Arc;

use pointsman::{
    Outcome, PolicyConfig, Reason, Request, Role, Router, RouterConfig, RoutingError,
    RoutingPolicy, Usage, WorkerId, WorkerSpec, WorkerStatus,
    policy::{Candidates, Decision, RequestView},
};

/// In the nanoseconds that the router counts.
pub const SECOND: u64 = 1_000_000_000;

/// Every built-in policy, the two rules of the cache-aware one apart.
pub const POLICIES: [&str; 5] =
    ["random", "round_robin", "power_of_two", "threshold", "least_work"];

pub fn policy(name: &str) -> PolicyConfig {
    match name {
        "threshold" => PolicyConfig::threshold(Default::default()),
        "least_work" => PolicyConfig::least_work(Default::default()),
        name => PolicyConfig::named(name),
    }
}

/// Small tables and a fixed seed.
pub fn config(name: &str) -> RouterConfig {
    let mut config = RouterConfig::default();
    config.policy = policy(name);
    config.seed = Some(7);
    config.max_tickets = 1024;
    config.tree.budget_bytes = 1 << 20;
    config
}

pub fn router(policy: &str) -> Router {
    Router::new(config(policy)).expect("a valid configuration")
}

/// A router whose policy is this one.
pub fn router_of(mut config: RouterConfig, policy: Arc<dyn RoutingPolicy>) -> Router {
    config.policy = PolicyConfig::named("own");
    let builder = Router::builder().config(config);
    let own = builder.add_policy("own", move |_| Ok(Arc::clone(&policy)));
    own.and_then(|builder| builder.build().map_err(|e| panic!("{e}"))).expect("a free name")
}

/// Registers regular workers of these weights.
pub fn add_weighted(router: &Router, weights: &[f64]) -> Vec<WorkerId> {
    let spec = |(i, &weight)| WorkerSpec::new(format!("http://w{i}")).weight(weight);
    weights.iter().enumerate().map(spec).map(|spec| add(router, spec)).collect()
}

/// Registers this many workers of weight 1.
pub fn add_many(router: &Router, role: Role, count: usize) -> Vec<WorkerId> {
    let spec = |i| WorkerSpec::new(format!("http://{role}-{i}")).role(role);
    (0..count).map(spec).map(|spec| add(router, spec)).collect()
}

pub fn add(router: &Router, spec: WorkerSpec) -> WorkerId {
    router.at(0).add_worker(spec).expect("a registrable worker")
}

/// Selects and completes.
pub fn pick(router: &Router, request: &Request<'_>) -> Result<WorkerId, RoutingError> {
    let selection = router.select(request)?;
    let worker = selection.worker();
    selection.complete(Outcome::Success, Usage::default()).expect("an open ticket");
    Ok(worker)
}

/// How often each of these workers is picked in `count` requests; fails on any other.
pub fn shares(
    router: &Router,
    workers: &[WorkerId],
    request: &Request<'_>,
    count: u32,
) -> Vec<u64> {
    tally(workers, (0..count).map(|_| pick(router, request).expect("a worker")))
}

/// How often each of these workers occurs; fails on any other.
pub fn tally(workers: &[WorkerId], picks: impl Iterator<Item = WorkerId>) -> Vec<u64> {
    let place: HashMap<WorkerId, usize> =
        workers.iter().enumerate().map(|(i, &worker)| (worker, i)).collect();
    let mut counts = vec![0; workers.len()];
    picks.for_each(|worker| counts[place[&worker]] += 1);
    counts
}

/// Fails if these counts are not what chance makes of these proportions: a chi-square test at about
/// one in three million, by the Wilson-Hilferty approximation. Proportion 0 allows no occurrence.
#[track_caller]
pub fn assert_shares(observed: &[u64], proportions: &[f64]) {
    assert_eq!(observed.len(), proportions.len());
    let (total, sum) = (observed.iter().sum::<u64>() as f64, proportions.iter().sum::<f64>());
    let (mut chi, mut freedom) = (0.0, -1.0);
    for (&count, &proportion) in observed.iter().zip(proportions) {
        if proportion == 0.0 {
            assert_eq!(count, 0, "{observed:?} should be as {proportions:?}");
            continue;
        }
        let expected = total * proportion / sum;
        assert!(expected >= 5.0, "too few draws for a chi-square test");
        chi += (count as f64 - expected).powi(2) / expected;
        freedom += 1.0;
    }
    if freedom < 1.0 {
        return;
    }
    let spread = 2.0 / (9.0 * freedom);
    let z = ((chi / freedom).cbrt() - (1.0 - spread)) / f64::sqrt(spread);
    assert!(z < 5.0, "{observed:?} should be as {proportions:?}: z = {z:.1}");
}

pub fn status(router: &Router, worker: WorkerId) -> WorkerStatus {
    let found = router.workers().into_iter().find(|status| status.info.id == worker);
    found.expect("a registered worker")
}

pub fn in_flight(router: &Router, worker: WorkerId) -> usize {
    status(router, worker).in_flight
}

/// A worker of this role in the slot of one that has left.
pub fn take_over(router: &Router, left: WorkerId, role: Role) -> WorkerId {
    // Slots are given out in turn.
    for number in 0..pointsman::MAX_WORKERS {
        let worker = add(router, WorkerSpec::new(format!("successor-{number}")).role(role));
        if worker.slot() == left.slot() {
            return worker;
        }
        router.remove_worker(worker).unwrap();
    }
    panic!("the slot is still in use");
}

/// Fails unless no request is open and no worker holds load.
#[track_caller]
pub fn assert_idle(router: &Router) {
    let metrics = router.metrics();
    assert_eq!(metrics.tickets.open, 0, "open tickets");
    for worker in &metrics.workers {
        assert_eq!(worker.in_flight, 0, "in flight on {}", worker.info.url);
        assert_eq!(worker.resident_tokens, 0, "resident on {}", worker.info.url);
    }
}

/// The error that a request must end in.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(result: Result<T, RoutingError>) -> RoutingError {
    result.expect_err("an error")
}

/// A policy that takes the first candidate.
pub struct First;

impl RoutingPolicy for First {
    fn name(&self) -> &str {
        "first"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let first = candidates.iter().next().ok_or_else(|| candidates.none())?;
        Ok(Decision::new(first.id(), Reason::Custom))
    }
}

/// What a host says that knows whether a worker is healthy.
pub fn host_health(healthy: bool) -> pointsman::HostHealth {
    if healthy { pointsman::HostHealth::Healthy } else { pointsman::HostHealth::Unhealthy }
}
