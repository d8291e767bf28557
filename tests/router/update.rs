//! Workers change without losing what is known of them.

use std::sync::{Arc, Mutex};

use pointsman::policy::{Candidates, Decision, RequestView};
use pointsman::{
    Outcome, PoolError, Request, Role, Router, RoutingError, RoutingPolicy, Usage, WorkerChange,
    WorkerId, WorkerInfo, WorkerSpec,
};

use crate::support::{self, add, pick, status};

fn prompt(seed: char) -> String {
    std::iter::repeat_n(seed, 2_000).collect()
}

/// Tokens of this prompt that the worker is believed to hold.
fn held(router: &Router, worker: WorkerId, text: &str) -> u32 {
    let selection = router.select(&Request::text(text).allow(&[worker])).unwrap();
    selection.matched_tokens()
}

#[test]
fn a_changed_worker_keeps_all_that_is_known_of_it() {
    let router = support::router("cache_aware");
    let worker = add(&router, WorkerSpec::new("http://old").label("tier", "a").max_in_flight(9));
    let other = add(&router, WorkerSpec::new("http://other"));
    let text = prompt('p');
    for outcome in [Outcome::Success, Outcome::WorkerError] {
        let selection = router.select(&Request::text(&text).allow(&[worker])).unwrap();
        selection.complete(outcome, Usage::default()).unwrap();
    }
    let open = router.select(&Request::text(&text).allow(&[worker])).unwrap();
    router.drain_worker(worker).unwrap();
    let before = status(&router, worker);

    let change = WorkerChange::new()
        .url("http://new")
        .group(Some("g"))
        .weight(3.0)
        .kv_capacity_tokens(Some(1 << 20))
        .max_in_flight(Some(2))
        .labels([("tier", "b"), ("zone", "x")]);
    router.update_worker(worker, change).unwrap();
    let after = status(&router, worker);
    assert_eq!(after.info.id, worker, "slot and generation");
    assert_eq!((after.info.url.as_str(), after.info.group.as_deref()), ("http://new", Some("g")));
    assert_eq!((after.weight, after.max_in_flight), (3.0, Some(2)));
    assert_eq!(after.info.kv_capacity_tokens, Some(1 << 20));
    assert!(after.info.has_label("tier", "b") && !after.info.has_label("tier", "a"));
    assert_ne!(after.info.url_digest, before.info.url_digest);
    assert_eq!(router.worker_by_url("http://new"), Some(worker));
    assert_eq!(router.worker_by_url("http://old"), None);
    assert_eq!((after.in_flight, after.selections, after.draining), (1, 3, true));
    assert_eq!((after.outcomes, after.resident_tokens), (before.outcomes, before.resident_tokens));
    assert_eq!(open.url().as_deref(), Some("http://new"));

    router.resume_worker(worker).unwrap();
    assert!(held(&router, worker, &text) > 400);
    let labelled = router.select(&Request::none().labels(&[("zone", "x")])).unwrap();
    assert_eq!(labelled.worker(), worker);
    let full = router.select(&Request::none().allow(&[worker])).map(|it| it.worker());
    assert!(matches!(full, Err(RoutingError::AllBusy { .. })), "{full:?}");
    drop(labelled);
    open.complete(Outcome::Success, Usage::default()).unwrap();
    assert_eq!(status(&router, worker).in_flight, 0);

    // What is not said stays, and what was set can be taken back.
    router.update_worker(worker, WorkerChange::new().group(None)).unwrap();
    router.update_worker(worker, WorkerChange::new().kv_capacity_tokens(None)).unwrap();
    router.update_worker(worker, WorkerChange::new().max_in_flight(None)).unwrap();
    router.update_worker(worker, WorkerChange::new()).unwrap();
    let last = status(&router, worker);
    assert_eq!((last.info.group.as_deref(), last.info.kv_capacity_tokens), (None, None));
    assert_eq!((last.max_in_flight, last.weight, last.info.labels.len()), (None, 3.0, 2));
    // The URL that was given up can be taken.
    router.update_worker(other, WorkerChange::new().url("http://old")).unwrap();
    assert_eq!(router.worker_by_url("http://old"), Some(other));
}

#[test]
fn refused_changes_change_nothing() {
    let router = support::router("random");
    let worker = add(&router, WorkerSpec::new("http://w").label("a", "b").max_in_flight(5));
    let other = add(&router, WorkerSpec::new("http://other"));
    let whole = || WorkerChange::new().labels([("c", "d")]).group(Some("g")).max_in_flight(Some(1));
    let refused = |change: WorkerChange| router.update_worker(worker, change).unwrap_err();
    let duplicate = PoolError::DuplicateUrl { url: "http://other".into(), id: other };
    assert_eq!(refused(whole().url("http://other")), duplicate);
    assert_eq!(refused(whole().url("")), PoolError::EmptyUrl);
    assert_eq!(refused(whole().weight(0.0)), PoolError::ZeroWeight);
    assert!(matches!(refused(whole().weight(f64::NAN)), PoolError::BadWeight { .. }));
    assert_eq!(refused(whole().max_in_flight(Some(0))), PoolError::ZeroMaxInFlight);
    let gone = add(&router, WorkerSpec::new("http://gone"));
    router.remove_worker(gone).unwrap();
    for id in [gone, WorkerId::from_raw(0), WorkerId::from_raw(u64::MAX)] {
        let unknown = Err(PoolError::UnknownWorker(id));
        assert_eq!(router.update_worker(id, whole().url("http://other")), unknown);
    }
    let status = status(&router, worker);
    assert_eq!((status.info.url.as_str(), status.info.group.as_deref()), ("http://w", None));
    assert!(status.info.has_label("a", "b") && status.max_in_flight == Some(5));
    assert_eq!(router.worker_by_url("http://w"), Some(worker));
    // Its own URL is no duplicate.
    router.update_worker(worker, WorkerChange::new().url("http://w")).unwrap();
    assert_eq!(router.worker_by_url("http://w"), Some(worker));
}

/// A worker that holds less has forgotten what was sent there longest ago; one that holds more has not.
#[test]
fn a_capacity_that_changes_counts_from_the_next_request() {
    let router = support::router("cache_aware");
    let worker = add(&router, WorkerSpec::new("http://w").kv_capacity_tokens(100_000));
    let (old, new) = (prompt('o'), prompt('n'));
    for text in [&old, &new] {
        drop(router.select(&Request::text(text)).unwrap());
    }
    router.update_worker(worker, WorkerChange::new().kv_capacity_tokens(Some(200_000))).unwrap();
    assert!(held(&router, worker, &new) > 400);
    router.update_worker(worker, WorkerChange::new().kv_capacity_tokens(Some(450))).unwrap();
    assert_eq!(held(&router, worker, &old), 0);
}

#[test]
fn pairs_follow_the_groups_of_the_moment() {
    let router = support::router("random");
    let prefill = add(&router, WorkerSpec::new("p").role(Role::Prefill).group("a"));
    add(&router, WorkerSpec::new("d").role(Role::Decode).group("b"));
    let pair = || router.select_pair(&Request::none()).map(|pair| pair.prefill().worker());
    assert!(matches!(pair(), Err(RoutingError::NoPair { .. })));
    router.update_worker(prefill, WorkerChange::new().group(Some("b"))).unwrap();
    assert_eq!(pair(), Ok(prefill));
}

/// Notes what it is told of workers that change.
#[derive(Default)]
struct Listener(Mutex<Vec<(WorkerId, String, Option<u64>)>>);

impl RoutingPolicy for Listener {
    fn name(&self) -> &str {
        "listener"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        Err(candidates.none())
    }

    fn on_worker_changed(&self, worker: &WorkerInfo) {
        let told = (worker.id, worker.url.clone(), worker.kv_capacity_tokens);
        self.0.lock().unwrap().push(told);
    }
}

#[test]
fn policies_hear_of_changes_that_were_made() {
    let listener = Arc::new(Listener::default());
    let policy = Arc::clone(&listener);
    let builder = Router::builder().add_policy("listener", move |_| Ok(policy.clone())).unwrap();
    let router = builder.build().unwrap();
    let main = pointsman::PolicyConfig::named("random");
    let own = pointsman::PolicyConfig::named("listener");
    router.set_policies(&main, Some(&own), None).unwrap();
    let worker = add(&router, WorkerSpec::new("a"));
    let change = || WorkerChange::new().url("b").kv_capacity_tokens(Some(7));
    router.update_worker(worker, change().weight(-1.0)).unwrap_err();
    router.update_worker(worker, change()).unwrap();
    assert_eq!(*listener.0.lock().unwrap(), [(worker, "b".to_owned(), Some(7))]);
    drop(pick(&router, &Request::none()));
}
