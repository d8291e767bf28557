//! The pool's doors: what is refused and why, and what can be read.

use std::collections::HashSet;

use pointsman::{LoadReport, PoolError, Request, Role, Router, WorkerId, WorkerSpec};

use crate::support::{self, add, add_many, assert_idle, pick, status};

#[test]
fn refusals_are_typed_and_change_nothing() {
    let router = support::router("random");
    let worker = add(&router, WorkerSpec::new("http://w").weight(2.0));
    let refused = |spec: WorkerSpec| router.add_worker(spec).unwrap_err();
    let new = || WorkerSpec::new("http://new");
    assert_eq!(refused(WorkerSpec::new("")), PoolError::EmptyUrl);
    let duplicate = refused(WorkerSpec::new("http://w").role(Role::Decode));
    assert_eq!(duplicate, PoolError::DuplicateUrl { url: "http://w".into(), id: worker });
    assert_eq!(refused(new().weight(0.0)), PoolError::ZeroWeight);
    assert_eq!(refused(new().weight(-0.0)), PoolError::ZeroWeight);
    assert!(PoolError::ZeroWeight.to_string().contains("drain"));
    for weight in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e6 + 1.0] {
        assert!(matches!(refused(new().weight(weight)), PoolError::BadWeight { .. }), "{weight}");
        let error = router.set_weight(worker, weight).unwrap_err();
        assert!(matches!(error, PoolError::BadWeight { .. }));
    }
    assert_eq!(router.set_weight(worker, 0.0), Err(PoolError::ZeroWeight));
    assert_eq!(refused(new().max_in_flight(0)), PoolError::ZeroMaxInFlight);
    assert_eq!(router.set_max_in_flight(worker, Some(0)), Err(PoolError::ZeroMaxInFlight));
    assert_eq!(router.workers().len(), 1);
    assert_eq!(status(&router, worker).weight, 2.0);
    assert!(router.add_worker(new().weight(1e6)).is_ok());
}

#[test]
fn unknown_ids_are_refused_everywhere() {
    let router = support::router("random");
    let worker = add(&router, WorkerSpec::new("w"));
    router.remove_worker(worker).unwrap();
    let strangers =
        [worker, WorkerId::from_raw(0), WorkerId::from_raw(u64::MAX), WorkerId::from_raw(1 << 16)];
    for id in strangers {
        let unknown = Err(PoolError::UnknownWorker(id));
        assert_eq!(router.remove_worker(id), unknown);
        assert_eq!(router.drain_worker(id), unknown);
        assert_eq!(router.set_weight(id, 1.0), unknown);
        assert_eq!(router.set_max_in_flight(id, Some(1)), unknown);
        assert_eq!(router.set_health(id, pointsman::HostHealth::Healthy), unknown);
        assert_eq!(router.report_load(id, LoadReport::default()), unknown);
        assert!(router.worker(id).is_none());
    }
}

#[test]
fn up_to_a_thousand_and_twenty_four_workers() {
    let router = support::router("round_robin");
    let workers = add_many(&router, Role::Regular, 1024);
    assert_eq!(workers.iter().collect::<HashSet<_>>().len(), 1024);
    assert!(workers.iter().all(|id| id.slot() < 1024 && id.generation() >= 1));
    let full = PoolError::TooManyWorkers { max: 1024 };
    // Nothing can be raised.
    assert!(full.to_string().ends_with("1024 workers; no pool can hold more"));
    assert_eq!(router.add_worker(WorkerSpec::new("one too many")), Err(full));
    let seen: HashSet<_> = (0..1024).map(|_| pick(&router, &Request::none()).unwrap()).collect();
    assert_eq!(seen.len(), 1024);
    router.remove_worker(workers[5]).unwrap();
    assert!(router.add_worker(WorkerSpec::new("fits again")).is_ok());
}

#[test]
fn max_workers_is_kept_exactly() {
    let mut config = support::config("random");
    config.max_workers = 3;
    let router = Router::new(config).unwrap();
    let workers = add_many(&router, Role::Regular, 3);
    let full = PoolError::TooManyWorkers { max: 3 };
    assert!(full.to_string().ends_with("raise max_workers"));
    assert_eq!(router.add_worker(WorkerSpec::new("x").role(Role::Decode)), Err(full));
    router.remove_worker(workers[0]).unwrap();
    assert!(router.add_worker(WorkerSpec::new("x")).is_ok());
}

#[test]
fn an_id_is_never_given_out_twice() {
    let mut config = support::config("random");
    config.max_workers = 2;
    let router = Router::new(config).unwrap();
    let mut seen = HashSet::new();
    for _ in 0..200 {
        let id = add(&router, WorkerSpec::new("w"));
        assert!(seen.insert(id), "{id:?} again");
        assert_eq!(WorkerId::from_raw(id.to_raw()), id);
        router.remove_worker(id).unwrap();
    }
    let slots: HashSet<_> = seen.iter().map(|id| id.slot()).collect();
    assert!(slots.len() < 50, "slots are reused");
}

#[test]
fn what_was_registered_can_be_read() {
    let router = support::router("random");
    let spec = WorkerSpec::new("http://w")
        .role(Role::Prefill)
        .weight(2.5)
        .group("rack")
        .kv_capacity_tokens(500_000)
        .max_in_flight(7)
        .label("gpu", "h100")
        .user_data(42);
    let id = add(&router, spec);
    let info = router.worker(id).unwrap();
    assert_eq!((info.id, info.role, info.user_data), (id, Role::Prefill, 42));
    assert_eq!((info.url.as_str(), info.group.as_deref()), ("http://w", Some("rack")));
    assert_eq!(info.kv_capacity_tokens, Some(500_000));
    assert!(info.has_label("gpu", "h100") && !info.has_label("gpu", "a100"));
    assert_eq!(router.worker_by_url("http://w"), Some(id));
    assert_eq!(router.worker_by_url("http://v"), None);
    router.remove_worker(id).unwrap();
    assert!(router.worker(id).is_none() && router.worker_by_url("http://w").is_none());
    assert_eq!(info.url, "http://w", "what was read stays readable");
}

#[test]
fn a_selection_tells_of_its_worker_until_that_is_removed() {
    let router = support::router("random");
    let id = add(&router, WorkerSpec::new("http://w").user_data(9));
    let selection = router.select(&Request::none()).unwrap();
    assert_eq!((selection.url().as_deref(), selection.user_data()), (Some("http://w"), 9));
    router.remove_worker(id).unwrap();
    assert_eq!((selection.url(), selection.user_data(), selection.worker()), (None, 9, id));
}

#[test]
fn a_worker_may_come_back_under_its_url() {
    let router = support::router("random");
    let first = add(&router, WorkerSpec::new("w").weight(3.0));
    router.drain_worker(first).unwrap();
    router.remove_worker(first).unwrap();
    let second = add(&router, WorkerSpec::new("w"));
    let status = status(&router, second);
    assert!(!status.draining && status.weight == 1.0 && status.selections == 0);
    assert_eq!(pick(&router, &Request::none()), Ok(second));
}

#[test]
fn metrics_count_decisions_and_loads() {
    let router = support::router("round_robin");
    let workers = add_many(&router, Role::Regular, 2);
    let held: Vec<_> = (0..3).map(|_| router.select(&Request::none()).unwrap()).collect();
    let metrics = router.metrics();
    let [count] = &metrics.decisions[..] else { panic!("{:?}", metrics.decisions) };
    assert_eq!((count.policy.as_str(), count.role, count.count), ("round_robin", Role::Regular, 3));
    let load = |id| metrics.workers.iter().find(|w| w.info.id == id).unwrap().in_flight;
    assert_eq!(workers.iter().map(|&id| load(id)).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((metrics.tickets.open, metrics.tickets.capacity), (3, 1024));
    drop(held);
    assert_idle(&router);
}
