//! Switching policies at run time loses no request, no load and no memory.

use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use pointsman::{
    ConfigError, Outcome, PolicyConfig, PolicyError, Reason, Request, Role, Router, RoutingError,
    RoutingPolicy, Usage,
    policy::{Candidates, Completion, Decision, Dispatch, FirstToken, RequestView},
};

use crate::support::{self, POLICIES, add_many, assert_idle, in_flight, pick};

/// Marks its decisions with its number, and refuses to be told of another's.
struct Numbered {
    number: u32,
    open: AtomicU32,
}

impl RoutingPolicy for Numbered {
    fn name(&self) -> &str {
        "numbered"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let first = candidates.iter().next().ok_or_else(|| candidates.none())?;
        Ok(Decision { work_tokens: self.number, ..Decision::new(first.id(), Reason::Custom) })
    }

    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        assert_eq!(dispatch.decision.work_tokens, self.number);
        self.open.fetch_add(1, Relaxed);
    }

    fn on_first_token(&self, event: &FirstToken) {
        assert_eq!(event.work_tokens, self.number, "told of another policy's first token");
    }

    fn on_request_complete(&self, event: &Completion) {
        assert_eq!(event.work_tokens, self.number, "told of another policy's request");
        self.open.fetch_sub(1, Relaxed);
    }

    fn wants_events(&self) -> bool {
        true
    }
}

/// A router whose `numbered` policies are all known to the test.
fn numbered() -> (Router, Arc<Mutex<Vec<Weak<Numbered>>>>) {
    let made = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&made);
    let mut config = support::config("random");
    config.policy = PolicyConfig::named("numbered");
    let builder = Router::builder().config(config).add_policy("numbered", move |_| {
        let mut list = list.lock().unwrap();
        let policy = Arc::new(Numbered { number: list.len() as u32, open: AtomicU32::new(0) });
        list.push(Arc::downgrade(&policy));
        Ok(policy)
    });
    let router = builder.unwrap().build().unwrap();
    add_many(&router, Role::Regular, 1);
    (router, made)
}

fn switch(router: &Router) {
    router.set_policy(&PolicyConfig::named("numbered")).unwrap();
}

#[test]
fn a_ticket_completes_at_the_policy_that_issued_it() {
    let (router, made) = numbered();
    let open = |i: usize| made.lock().unwrap()[i].upgrade().map(|policy| policy.open.load(Relaxed));
    let first = router.select(&Request::none()).unwrap();
    switch(&router);
    let second = router.select(&Request::none()).unwrap();
    switch(&router);
    assert_eq!((open(0), open(1), open(2)), (Some(1), Some(1), Some(0)));
    first.first_token(None).unwrap();
    first.complete(Outcome::Success, Usage::default()).unwrap();
    assert_eq!((open(0), open(1)), (Some(0), Some(1)));
    drop(second);
    assert_eq!(open(1), Some(0));
    assert_idle(&router);
}

#[test]
fn a_replaced_policy_lives_as_long_as_its_tickets() {
    let (router, made) = numbered();
    let is_alive = |i: usize| made.lock().unwrap()[i].strong_count() > 0;
    let open = router.select(&Request::none()).unwrap();
    switch(&router);
    router.at(1).tick();
    assert!(is_alive(0));
    drop(open);
    router.at(1).tick();
    assert!(!is_alive(0), "freed by the tick after its last request");
    assert!(is_alive(1));
    // Also without a tick, by the next but one switch.
    switch(&router);
    switch(&router);
    assert!(!is_alive(1));
    drop(router);
    assert!(!is_alive(3), "freed with the router");
}

#[test]
fn any_number_of_switches() {
    let (router, made) = numbered();
    let kept = router.select(&Request::none()).unwrap();
    for _ in 0..1_000 {
        switch(&router);
        pick(&router, &Request::none()).unwrap();
    }
    let alive = made.lock().unwrap().iter().filter(|policy| policy.strong_count() > 0).count();
    assert!(alive <= 4, "{alive} policies are alive");
    kept.first_token(None).unwrap();
    drop(kept);
    assert_idle(&router);
}

#[test]
fn too_many_policies_with_open_requests_are_refused_until_those_end() {
    let (router, made) = numbered();
    let mut held = vec![router.select(&Request::none()).unwrap()];
    let error = loop {
        match router.set_policy(&PolicyConfig::named("numbered")) {
            Ok(()) => held.push(router.select(&Request::none()).unwrap()),
            Err(error) => break error,
        }
        assert!(held.len() < 1_000);
    };
    assert!(matches!(error, ConfigError::TooManyPolicies(_)), "{error}");
    assert!(held.len() >= 16);
    let current = held.len() as u32 - 1;
    let policies = || made.lock().unwrap().clone();
    let open = |i: usize| policies()[i].upgrade().map(|policy| policy.open.load(Relaxed));
    assert_eq!(open(current as usize), Some(1));
    pick(&router, &Request::none()).unwrap();
    held.push(router.select(&Request::none()).unwrap());
    assert_eq!(open(current as usize), Some(2), "the old policy is still in charge");
    drop(held.remove(5));
    switch(&router);
    held.clear();
    assert_idle(&router);
}

#[test]
fn a_switch_that_fails_half_way_changes_nothing() {
    let (router, made) = numbered();
    add_many(&router, Role::Prefill, 1);
    add_many(&router, Role::Decode, 1);
    let mut held = vec![router.select(&Request::none()).unwrap()];
    while router.set_policy(&PolicyConfig::named("numbered")).is_ok() {
        held.push(router.select(&Request::none()).unwrap());
    }
    // One place is free, where two policies are asked for.
    drop(held.remove(0));
    let (numbered, random) = (PolicyConfig::named("numbered"), PolicyConfig::named("random"));
    let error = router.set_policies(&random, Some(&numbered), None).unwrap_err();
    assert!(matches!(error, ConfigError::TooManyPolicies(_)));
    // Whatever else publishes the membership must not publish half of the switch.
    add_many(&router, Role::Regular, 0);
    router.set_weight(router.workers()[0].info.id, 2.0).unwrap();
    assert_eq!(router.policy(), "numbered");
    assert_eq!(router.select(&Request::none()).unwrap().reason(), Reason::Custom);
    router.set_policy(&random).unwrap();
    assert_eq!(router.policy(), "random");
    held.clear();
    router.at(1).tick();
    let alive = made.lock().unwrap().iter().filter(|policy| policy.strong_count() > 0).count();
    assert_eq!(alive, 0);
    assert_idle(&router);
}

#[test]
fn a_refused_configuration_leaves_the_old_policy_in_charge() {
    let router = support::router("round_robin");
    let workers = add_many(&router, Role::Regular, 3);
    assert_eq!(pick(&router, &Request::none()), Ok(workers[0]));
    let bad = serde_json::from_str(r#"{"power_of_two": {"max_report_age_secs": -1}}"#).unwrap();
    assert!(router.set_policy(&bad).is_err());
    let unknown = router.set_policy(&PolicyConfig::named("unheard of")).unwrap_err();
    assert!(matches!(unknown, ConfigError::Policy(PolicyError::Unknown { .. })));
    assert_eq!(router.policy(), "round_robin");
    assert_eq!(pick(&router, &Request::none()), Ok(workers[1]), "its rotation goes on");
}

#[test]
fn load_counts_on_across_every_switch() {
    for from in POLICIES {
        for to in POLICIES {
            let router = support::router(from);
            let workers = add_many(&router, Role::Regular, 2);
            add_many(&router, Role::Prefill, 1);
            add_many(&router, Role::Decode, 1);
            let request = Request::none().allow(&workers[..1]);
            let held: Vec<_> = (0..4).map(|_| router.select(&request).unwrap()).collect();
            let pair = router.select_pair(&Request::text("a prompt")).unwrap();
            router.set_policy(&support::policy(to)).unwrap();
            assert_eq!(in_flight(&router, workers[0]), 4);
            assert_eq!(router.policy(), support::policy(to).name());
            let next = router.select(&Request::none()).unwrap();
            if to == "power_of_two" || to == "threshold" {
                assert_eq!(next.worker(), workers[1], "{from} -> {to}: the idle one");
            }
            drop((held, next));
            pair.first_token(None).unwrap();
            drop(pair);
            assert_idle(&router);
        }
    }
}

#[test]
fn the_prefix_tree_keeps_its_contents() {
    let router = support::router("least_work");
    add_many(&router, Role::Regular, 4);
    let prompt = "You are a helpful assistant. ".repeat(200);
    let request = Request::text(&prompt);
    let worker = pick(&router, &request).unwrap();
    router.set_policy(&PolicyConfig::named("random")).unwrap();
    (0..10).for_each(|_| drop(pick(&router, &Request::none())));
    for rule in ["threshold", "least_work"] {
        router.set_policy(&support::policy(rule)).unwrap();
        let selection = router.select(&request).unwrap();
        assert_eq!(selection.worker(), worker, "{rule}");
        assert!(selection.matched_tokens() > 1_000, "{rule}: {}", selection.matched_tokens());
    }
}

#[test]
fn policies_per_role_can_be_switched_as_well() {
    let router = support::router("random");
    Role::ALL.iter().for_each(|&role| drop(add_many(&router, role, 2)));
    let named = PolicyConfig::named;
    let before = router.select_pair(&Request::none()).unwrap();
    router
        .set_policies(&named("power_of_two"), Some(&named("round_robin")), Some(&named("random")))
        .unwrap();
    let pair = router.select_pair(&Request::none()).unwrap();
    assert_eq!(pair.prefill().reason(), Reason::RoundRobin);
    assert_eq!(pair.decode().reason(), Reason::Random);
    assert_eq!(router.select(&Request::none()).unwrap().reason(), Reason::PowerOfTwo);
    router.set_policy(&named("round_robin")).unwrap();
    let last = router.select_pair(&Request::none()).unwrap();
    assert_eq!(last.decode().reason(), Reason::RoundRobin);
    drop((before, pair, last));
    assert_idle(&router);
}

#[test]
fn a_new_policy_is_told_of_the_workers_that_are_there() {
    struct Counts(Arc<AtomicU32>);
    impl RoutingPolicy for Counts {
        fn name(&self) -> &str {
            "counts"
        }

        fn select_single(
            &self,
            candidates: &Candidates<'_>,
            _request: &RequestView<'_>,
        ) -> Result<Decision, RoutingError> {
            Err(candidates.none())
        }

        fn on_worker_added(&self, _worker: &pointsman::WorkerInfo) {
            self.0.fetch_add(1, Relaxed);
        }

        fn on_worker_removed(&self, _worker: &pointsman::WorkerInfo) {
            self.0.fetch_sub(1, Relaxed);
        }
    }
    let count = Arc::new(AtomicU32::new(0));
    let shared = Arc::clone(&count);
    let builder = Router::builder()
        .config(support::config("random"))
        .add_policy("counts", move |_| Ok(Arc::new(Counts(Arc::clone(&shared)))));
    let router = builder.unwrap().build().unwrap();
    let workers = add_many(&router, Role::Regular, 5);
    add_many(&router, Role::Decode, 2);
    router.set_policy(&PolicyConfig::named("counts")).unwrap();
    assert_eq!(count.load(Relaxed), 7);
    router.remove_worker(workers[0]).unwrap();
    assert_eq!(count.load(Relaxed), 6);
}

/// Has its own policy replaced, and replaced again, while it decides.
struct Restless {
    router: Mutex<Option<Router>>,
    open: AtomicU32,
}

impl RoutingPolicy for Restless {
    fn name(&self) -> &str {
        "restless"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        if let Some(router) = self.router.lock().unwrap().take() {
            (0..5).for_each(|_| switch(&router));
        }
        let first = candidates.iter().next().ok_or_else(|| candidates.none())?;
        Ok(Decision { work_tokens: 77, ..Decision::new(first.id(), Reason::Custom) })
    }

    fn on_dispatch(&self, _dispatch: &Dispatch<'_>) {
        self.open.fetch_add(1, Relaxed);
    }

    fn on_request_complete(&self, _event: &Completion) {
        self.open.fetch_sub(1, Relaxed);
    }

    fn wants_events(&self) -> bool {
        true
    }
}

#[test]
fn switches_in_the_middle_of_a_decision_leave_its_request_with_its_policy() {
    let restless = Arc::new(Restless { router: Mutex::new(None), open: AtomicU32::new(0) });
    let known = Arc::downgrade(&restless);
    let made = AtomicU32::new(0);
    let place = Mutex::new(Some(Arc::clone(&restless)));
    let builder = Router::builder().config(support::config("random"));
    let builder =
        builder.add_policy("restless", move |_| Ok(place.lock().unwrap().take().unwrap()));
    let builder = builder.unwrap().add_policy("numbered", move |_| {
        let number = made.fetch_add(1, Relaxed);
        Ok(Arc::new(Numbered { number, open: AtomicU32::new(0) }))
    });
    let router = builder.unwrap().build().unwrap();
    add_many(&router, Role::Regular, 1);
    router.set_policy(&PolicyConfig::named("restless")).unwrap();
    *restless.router.lock().unwrap() = Some(router.clone());

    let selection = router.select(&Request::none()).unwrap();
    assert_eq!(router.policy(), "numbered");
    assert_eq!(restless.open.load(Relaxed), 1, "dispatched once");
    switch(&router);
    selection.first_token(None).unwrap();
    selection.complete(Outcome::Success, Usage::default()).unwrap();
    assert_eq!(restless.open.load(Relaxed), 0);
    drop(restless);
    assert!(known.upgrade().is_some());
    router.at(1).tick();
    assert!(known.upgrade().is_none());
    assert_idle(&router);
}
