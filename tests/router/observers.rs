//! What watches and divides decisions: a split, a shadow, the decision log.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pointsman::{
    HealthState, Outcome, PolicyConfig, Reason, Request, Role, Router, RoutingError, SplitConfig,
    Usage, WorkerId,
};

use crate::support::{self, SECOND, add_many, assert_idle, assert_shares, pick};

fn split(policy: &str, share: f64) -> SplitConfig {
    let document = format!(r#"{{"policy": "{policy}", "share": {share}}}"#);
    serde_json::from_str(&document).unwrap()
}

#[test]
fn a_split_sends_its_share_to_the_second_policy() {
    let router = support::router("random");
    Role::ALL.iter().for_each(|&role| drop(add_many(&router, role, 3)));
    router.set_split(Some(&split("round_robin", 0.25))).unwrap();
    let mut counts = [0, 0, 0, 0];
    for _ in 0..8_000 {
        let second = router.select(&Request::none()).unwrap().reason() == Reason::RoundRobin;
        let pair = router.select_pair(&Request::none()).unwrap();
        let pair_second = pair.decode().reason() == Reason::RoundRobin;
        assert_eq!(pair.prefill().reason() == Reason::RoundRobin, pair_second, "one decision");
        counts[usize::from(second)] += 1;
        counts[2 + usize::from(pair_second)] += 1;
    }
    assert_shares(&counts[..2], &[0.75, 0.25]);
    assert_shares(&counts[2..], &[0.75, 0.25]);
    router.set_split(None).unwrap();
    let reason = || router.select(&Request::none()).unwrap().reason();
    assert!((0..100).all(|_| reason() == Reason::Random));
    assert_idle(&router);
}

#[test]
fn a_routing_key_stays_on_its_side_of_a_split() {
    let router = support::router("random");
    add_many(&router, Role::Regular, 3);
    router.set_split(Some(&split("round_robin", 0.5))).unwrap();
    let side = |key: usize| {
        let key = key.to_string();
        router.select(&Request::none().routing_key(&key)).unwrap().reason()
    };
    let sides: Vec<Reason> = (0..200).map(side).collect();
    assert_eq!(sides, (0..200).map(side).collect::<Vec<_>>());
    let second = sides.iter().filter(|&&reason| reason == Reason::RoundRobin).count();
    assert!((60..140).contains(&second), "{second} of 200 keys");
}

#[test]
fn shares_beyond_the_whole_are_refused_and_change_nothing() {
    let router = support::router("random");
    add_many(&router, Role::Regular, 3);
    for share in ["-0.1", "1.1"] {
        let document = format!(r#"{{"policy": "round_robin", "share": {share}}}"#);
        let config: SplitConfig = serde_json::from_str(&document).unwrap();
        assert!(router.set_split(Some(&config)).is_err());
    }
    for (share, reason) in [(0.0, Reason::Random), (1.0, Reason::RoundRobin)] {
        router.set_split(Some(&split("round_robin", share))).unwrap();
        let found = || router.select(&Request::none()).unwrap().reason();
        assert!((0..200).all(|_| found() == reason));
    }
}

#[test]
fn a_shadow_decides_nothing_and_charges_nothing() {
    let (plain, watched) = (support::router("round_robin"), support::router("round_robin"));
    for router in [&plain, &watched] {
        Role::ALL.iter().for_each(|&role| drop(add_many(router, role, 4)));
    }
    watched.set_shadow(Some(&PolicyConfig::named("random"))).unwrap();
    for _ in 0..200 {
        let pick = |router: &Router| {
            let pair = router.select_pair(&Request::none()).unwrap();
            (
                pick(router, &Request::none()).unwrap(),
                pair.prefill().worker(),
                pair.decode().worker(),
            )
        };
        assert_eq!(pick(&plain), pick(&watched));
    }
    assert_idle(&watched);
    let selections: u64 = watched.workers().iter().map(|status| status.selections).sum();
    assert_eq!(selections, 600);
    let shadow = watched.metrics().shadow.expect("a shadow");
    assert_eq!((shadow.compared, shadow.failed), (400, 0));
    // One in four agrees on one worker, one in sixteen on a pair.
    assert!((250..390).contains(&shadow.differing), "{shadow:?}");
    watched.set_shadow(Some(&PolicyConfig::named("power_of_two"))).unwrap();
    let shadow = watched.metrics().shadow.expect("a shadow");
    assert_eq!((shadow.policy.as_str(), shadow.compared), ("power_of_two", 0), "the new one's");
    watched.set_shadow(None).unwrap();
    assert!(watched.metrics().shadow.is_none());
}

#[test]
fn the_log_sees_every_decision_or_a_share_of_them() {
    let log = |every: u32| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        let builder = Router::builder().config(support::config("power_of_two"));
        let builder = builder.decision_log(every, move |record| list.lock().unwrap().push(*record));
        let router = builder.build().unwrap();
        Role::ALL.iter().for_each(|&role| drop(add_many(&router, role, 3)));
        (router, seen)
    };
    let (router, seen) = log(1);
    let selection = router.at(77).select(&Request::text("four")).unwrap();
    let pair = router.at(78).select_pair(&Request::none()).unwrap();
    let told = std::mem::take(&mut *seen.lock().unwrap());
    let [one, prefill, decode] = &told[..] else { panic!("{told:?}") };
    assert_eq!((one.worker, one.role, one.now.as_nanos()), (selection.worker(), Role::Regular, 77));
    assert_eq!((one.ticket, one.reason), (selection.ticket(), Reason::PowerOfTwo));
    assert_eq!(one.runner_up, selection.runner_up());
    assert_eq!((prefill.worker, prefill.role), (pair.prefill().worker(), Role::Prefill));
    assert_eq!((decode.worker, decode.role), (pair.decode().worker(), Role::Decode));
    assert_eq!((prefill.ticket, decode.ticket), (pair.ticket(), pair.ticket()));

    let (router, seen) = log(10);
    (0..10_000).for_each(|_| drop(pick(&router, &Request::none())));
    let count = seen.lock().unwrap().len() as u64;
    assert_shares(&[count, 10_000 - count], &[0.1, 0.9]);
}

#[test]
fn a_log_that_selects_is_not_logged_in_turn() {
    let (asking, logged) = (Arc::new(Mutex::new(None::<Router>)), Arc::new(AtomicUsize::new(0)));
    let (same, count) = (Arc::clone(&asking), Arc::clone(&logged));
    let router = Router::builder()
        .decision_log(1, move |record| {
            count.fetch_add(1, Relaxed);
            let Some(router) = same.lock().unwrap().clone() else { return };
            let selection = router.select(&Request::none()).unwrap();
            assert_ne!(selection.ticket(), record.ticket);
            selection.complete(Outcome::Success, Usage::default()).unwrap();
        })
        .build()
        .unwrap();
    add_many(&router, Role::Regular, 2);
    *asking.lock().unwrap() = Some(router.clone());
    (0..3).for_each(|_| drop(pick(&router, &Request::none())));
    assert_eq!(logged.load(Relaxed), 3);
    assert_eq!(router.metrics().decisions.iter().map(|row| row.count).sum::<u64>(), 6);
    // A router that its own log owns is never freed.
    asking.lock().unwrap().take();
}

/// A router with two workers that notes what its health log is told.
fn watched(told: &Arc<Mutex<Vec<(u64, HealthState)>>>) -> (Router, Vec<WorkerId>) {
    let told = Arc::clone(told);
    let router = Router::builder()
        .health_log(move |change| {
            assert_eq!(change.worker.url, "http://regular-0");
            told.lock().unwrap().push((change.now.as_nanos(), change.state));
        })
        .build()
        .unwrap();
    let workers = add_many(&router, Role::Regular, 2);
    (router, workers)
}

fn serve(router: &Router, worker: WorkerId, outcome: Outcome, now: u64) {
    let selection = router.at(now).select(&Request::none().allow(&[worker])).unwrap();
    router.at(now).complete(selection, outcome, Usage::default()).unwrap();
}

#[test]
fn the_health_log_is_told_of_every_change_once() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (router, workers) = watched(&told);
    let fail = |now| serve(&router, workers[0], Outcome::WorkerError, now);
    let succeed = |now| serve(&router, workers[0], Outcome::Success, now);
    (1..=3).for_each(fail);
    let ejected = (3, HealthState::Ejected { until: (3 + 10 * SECOND).into() });
    assert_eq!(*told.lock().unwrap(), [ejected], "before the call returns");
    // Probation begins with the first call after its time; a failure ends it.
    fail(11 * SECOND);
    router.at(40 * SECOND).tick();
    (41..=42).for_each(|second| succeed(second * SECOND));
    (43..=50).for_each(|second| succeed(second * SECOND));
    let expected = [
        ejected,
        (11 * SECOND, HealthState::Probation),
        (11 * SECOND, HealthState::Ejected { until: (31 * SECOND).into() }),
        (40 * SECOND, HealthState::Probation),
        (42 * SECOND, HealthState::Healthy),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn what_the_host_says_is_not_told_back_to_it() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (router, workers) = watched(&told);
    for health in [
        pointsman::HostHealth::Unhealthy,
        pointsman::HostHealth::Healthy,
        pointsman::HostHealth::Unknown,
    ] {
        router.set_health(workers[0], health).unwrap();
    }
    serve(&router, workers[0], Outcome::Overloaded { retry_after: Duration::from_secs(1) }, 0);
    router.drain_worker(workers[0]).unwrap();
    assert_eq!(*told.lock().unwrap(), []);
}

/// The hook runs without a lock, so it may do what hosts want to do with a worker that is out.
#[test]
fn a_health_hook_may_use_the_router() {
    let slot: Arc<Mutex<Option<Router>>> = Arc::default();
    let inside = Arc::clone(&slot);
    let router = Router::builder()
        .health_log(move |change| {
            let router = inside.lock().unwrap().clone().unwrap();
            router.remove_worker(change.worker.id).unwrap();
            // The next one fails while this change is being told; it is told afterwards.
            let next = router.workers().first().map(|status| status.info.id);
            if let Some(next) = next.filter(|_| router.workers().len() > 1) {
                (0..3).for_each(|_| serve(&router, next, Outcome::Timeout, 1));
            }
        })
        .build()
        .unwrap();
    let workers = add_many(&router, Role::Regular, 4);
    *slot.lock().unwrap() = Some(router.clone());
    (0..3).for_each(|_| serve(&router, workers[0], Outcome::WorkerError, 0));
    assert_eq!(router.workers().len(), 1);
    assert_idle(&router);
    // A hook that holds its own router keeps it alive.
    slot.lock().unwrap().take();
}

#[test]
fn changes_of_many_threads_are_told_in_order() {
    let states: Arc<Mutex<Vec<(WorkerId, HealthState)>>> = Arc::default();
    let told = Arc::clone(&states);
    let router = Router::builder()
        .health_log(move |change| told.lock().unwrap().push((change.worker.id, change.state)))
        .build()
        .unwrap();
    let workers = add_many(&router, Role::Regular, 8);
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (router, workers) = (&router, &workers);
            scope.spawn(move || {
                for step in 0..4_000u64 {
                    let worker = workers[(step as usize + thread) % workers.len()];
                    let now = step * SECOND / 4;
                    let fails = (step / 64 + thread as u64) % 3 != 0;
                    let outcome = if fails { Outcome::WorkerError } else { Outcome::Success };
                    let request = Request::none().allow(std::slice::from_ref(&worker));
                    match router.at(now).select(&request) {
                        Ok(selection) => {
                            router.at(now).complete(selection, outcome, Usage::default()).unwrap();
                        }
                        Err(error) => assert!(
                            matches!(
                                error,
                                RoutingError::NoHealthyWorkers { .. }
                                    | RoutingError::AllBusy { .. }
                            ),
                            "{error}"
                        ),
                    }
                }
            });
        }
    });
    let states = states.lock().unwrap();
    assert!(states.len() > workers.len(), "{} changes", states.len());
    for worker in workers {
        let mut at = HealthState::Healthy;
        for &(_, next) in states.iter().filter(|(id, _)| *id == worker) {
            let follows = match at {
                HealthState::Healthy => matches!(next, HealthState::Ejected { .. }),
                HealthState::Ejected { .. } => next == HealthState::Probation,
                _ => next != HealthState::Probation,
            };
            assert!(follows, "{at:?}, then {next:?}");
            at = next;
        }
    }
}
