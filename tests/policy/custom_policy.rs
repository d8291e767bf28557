//! Policies from outside the crate: both modes, every callback, and what becomes of bad ones.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use pointsman::{
    Outcome, PolicyError, Reason, Request, Role, Router, RouterConfig, RoutingError, RoutingPolicy,
    TicketError, Usage, WorkerId, WorkerInfo, WorkerSpec,
    policy::{Candidates, Completion, Decision, Dispatch, FirstToken, PairDecision, RequestView},
};

use crate::support::{self, add, add_many, assert_idle, pick, refusal, router_of};

/// The candidate in the highest slot, or the one `offset` places before it.
struct Highest {
    offset: usize,
}

impl RoutingPolicy for Highest {
    fn name(&self) -> &str {
        "highest"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let mut ids: Vec<WorkerId> = candidates.iter().map(|candidate| candidate.id()).collect();
        ids.reverse();
        let chosen = ids.get(self.offset).or(ids.last()).ok_or_else(|| candidates.none())?;
        Ok(Decision::new(*chosen, Reason::Custom))
    }
}

fn highest(options: &serde_json::Value) -> Result<Arc<dyn RoutingPolicy>, PolicyError> {
    let offset = match options {
        serde_json::Value::Null => 0,
        options => options["offset"].as_u64().ok_or(PolicyError::Options("offset".into()))?,
    };
    Ok(Arc::new(Highest { offset: offset as usize }))
}

#[test]
fn a_policy_of_the_host_s_own_works_by_name_and_in_both_modes() {
    for (document, offset) in [
        (r#"{"policy": "highest"}"#, 0),
        (r#"{"policy": {"custom": {"name": "highest", "options": {"offset": 2}}}}"#, 2),
    ] {
        let config = RouterConfig::from_json(document).unwrap();
        let builder = Router::builder().config(config).add_policy("highest", highest).unwrap();
        let router = builder.build().unwrap();
        assert_eq!(router.policy(), "highest");
        let regular = add_many(&router, Role::Regular, 4);
        assert_eq!(pick(&router, &Request::none()), Ok(regular[3 - offset]));
        let prefill = add_many(&router, Role::Prefill, 4);
        let decode = add_many(&router, Role::Decode, 4);
        let pair = router.select_pair(&Request::none().exclude(&prefill[3..])).unwrap();
        let rest = if offset == 0 { prefill[2] } else { prefill[0] };
        assert_eq!(pair.prefill().worker(), rest);
        assert_eq!(pair.decode().worker(), decode[3 - offset]);
        drop(pair);
        assert_idle(&router);
        let counts = router.metrics().decisions;
        assert!(counts.iter().all(|c| c.policy == "highest" && c.reason == Reason::Custom));
        assert_eq!(counts.len(), 3);
    }
}

#[test]
fn it_may_serve_one_role_beside_a_built_in_one() {
    let document = r#"{"policy": "random", "decode_policy": "highest"}"#;
    let config = RouterConfig::from_json(document).unwrap();
    let builder = Router::builder().config(config).add_policy("highest", highest).unwrap();
    let router = builder.build().unwrap();
    add_many(&router, Role::Prefill, 2);
    let decode = add_many(&router, Role::Decode, 3);
    for _ in 0..20 {
        let pair = router.select_pair(&Request::none()).unwrap();
        assert_eq!(pair.decode().worker(), decode[2]);
        assert_eq!(pair.prefill().reason(), Reason::Random);
    }
}

/// What a policy is told, in order.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Added(WorkerId),
    Removed(WorkerId),
    Dispatched(WorkerId, Role),
    FirstToken {
        worker: WorkerId,
        role: Role,
        cached: Option<u32>,
        work: u32,
    },
    Completed {
        worker: WorkerId,
        prefill: Option<WorkerId>,
        outcome: Outcome,
        seen: bool,
        work: u32,
    },
}

/// Takes the first candidate, and writes down what it is told.
#[derive(Default)]
struct Diary {
    deaf: bool,
    events: Mutex<Vec<Event>>,
}

impl Diary {
    fn router(deaf: bool) -> (Router, Arc<Diary>) {
        let diary = Arc::new(Diary { deaf, ..Default::default() });
        let router = router_of(support::config("random"), Arc::clone(&diary) as Arc<_>);
        (router, diary)
    }

    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

impl RoutingPolicy for Diary {
    fn name(&self) -> &str {
        "diary"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let first = candidates.iter().next().ok_or_else(|| candidates.none())?;
        let decision = Decision::new(first.id(), Reason::Custom);
        // Different for every role, so that mixed-up decisions show.
        let work_tokens = 100 + candidates.role() as u32;
        Ok(Decision { work_tokens, matched_tokens: work_tokens + 10, ..decision })
    }

    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        self.note(Event::Dispatched(dispatch.decision.worker, dispatch.role));
    }

    fn on_first_token(&self, event: &FirstToken) {
        assert_eq!(event.matched_tokens, event.work_tokens + 10);
        let (worker, role, work) = (event.worker, event.role, event.work_tokens);
        self.note(Event::FirstToken { worker, role, cached: event.cached_tokens, work });
    }

    fn on_request_complete(&self, event: &Completion) {
        self.note(Event::Completed {
            worker: event.worker,
            prefill: event.prefill,
            outcome: event.outcome,
            seen: event.first_token_seen,
            work: event.work_tokens,
        });
    }

    fn on_worker_added(&self, worker: &pointsman::WorkerInfo) {
        self.note(Event::Added(worker.id));
    }

    fn on_worker_removed(&self, worker: &pointsman::WorkerInfo) {
        self.note(Event::Removed(worker.id));
    }

    fn wants_events(&self) -> bool {
        !self.deaf
    }
}

const USAGE: Usage = Usage { prompt_tokens: None, cached_tokens: None, completion_tokens: None };

#[test]
fn every_event_is_told_once_and_in_order() {
    let (router, diary) = Diary::router(false);
    let worker = add_many(&router, Role::Regular, 1)[0];
    let selection = router.select(&Request::none()).unwrap();
    selection.first_token(Some(7)).unwrap();
    assert!(selection.first_token(None).is_err());
    selection.complete(Outcome::Success, USAGE).unwrap();
    drop(router.select(&Request::none()).unwrap());
    let end = |outcome, seen| Event::Completed {
        worker,
        prefill: Some(worker),
        outcome,
        seen,
        work: 100,
    };
    let dispatched = Event::Dispatched(worker, Role::Regular);
    assert_eq!(
        diary.take(),
        [
            Event::Added(worker),
            dispatched.clone(),
            Event::FirstToken { worker, role: Role::Regular, cached: Some(7), work: 100 },
            end(Outcome::Success, true),
            dispatched,
            end(Outcome::ClientCancelled, false),
        ]
    );
    router.remove_worker(worker).unwrap();
    assert_eq!(diary.take(), [Event::Removed(worker)]);
}

#[test]
fn of_a_pair_it_is_told_both_dispatches_and_one_end() {
    let (router, diary) = Diary::router(false);
    let prefill = add_many(&router, Role::Prefill, 1)[0];
    let decode = add_many(&router, Role::Decode, 1)[0];
    diary.take();
    let pair = router.select_pair(&Request::none()).unwrap();
    pair.first_token(None).unwrap();
    pair.complete(Outcome::Timeout, USAGE).unwrap();
    let (seen, work, outcome) = (true, 101, Outcome::Timeout);
    let told_prefill = Some(prefill);
    assert_eq!(
        diary.take(),
        [
            Event::Dispatched(prefill, Role::Prefill),
            Event::Dispatched(decode, Role::Decode),
            Event::FirstToken { worker: prefill, role: Role::Prefill, cached: None, work: 101 },
            Event::Completed { worker: decode, prefill: told_prefill, outcome, seen, work },
        ]
    );
}

#[test]
fn the_end_of_a_removed_worker_s_requests_is_told_under_its_own_id() {
    let (router, diary) = Diary::router(false);
    let workers = add_many(&router, Role::Regular, 2);
    for &worker in &workers {
        let open = router.select(&Request::none().allow(&[worker])).unwrap();
        diary.take();
        router.remove_worker(worker).unwrap();
        let told = diary.take();
        let Event::Completed { worker: w, prefill, outcome, seen: false, .. } = told[0] else {
            panic!("{told:?}");
        };
        assert_eq!((w, prefill, outcome), (worker, Some(worker), Outcome::Expired));
        assert_eq!(told[1..], [Event::Removed(worker)]);
        drop(open);
        assert_eq!(diary.take(), []);
    }
}

#[test]
fn a_prefill_worker_that_has_left_is_not_told_of_nor_is_its_successor() {
    // Whether the first token comes before the removal, after it, or never.
    for (before, after) in [(true, false), (false, true), (false, false)] {
        let (router, diary) = Diary::router(false);
        let prefill = add_many(&router, Role::Prefill, 1)[0];
        let decode = add_many(&router, Role::Decode, 1)[0];
        let pair = router.select_pair(&Request::none()).unwrap();
        if before {
            pair.first_token(None).unwrap();
        }
        router.remove_worker(prefill).unwrap();
        support::take_over(&router, prefill, Role::Prefill);
        diary.take();
        if after {
            pair.first_token(None).unwrap();
            assert_eq!(pair.first_token(None), Err(TicketError::FirstTokenTwice));
        }
        assert_eq!(diary.take(), []);
        pair.complete(Outcome::Success, USAGE).unwrap();
        let seen = before || after;
        let (worker, outcome, work) = (decode, Outcome::Success, 101);
        let end = Event::Completed { worker, prefill: None, outcome, seen, work };
        assert_eq!(diary.take(), [end]);
    }
}

#[test]
fn one_that_does_not_listen_is_told_of_workers_only() {
    let (router, diary) = Diary::router(true);
    let worker = add_many(&router, Role::Regular, 1)[0];
    let selection = router.select(&Request::none()).unwrap();
    selection.first_token(None).unwrap();
    drop(selection);
    assert_eq!(diary.take(), [Event::Added(worker)]);
    assert_idle(&router);
}

#[test]
fn a_refused_or_unpaired_request_is_not_dispatched() {
    let (router, diary) = Diary::router(false);
    add(&router, WorkerSpec::new("p").role(Role::Prefill).group("a"));
    add(&router, WorkerSpec::new("d").role(Role::Decode).group("b"));
    diary.take();
    assert!(router.select_pair(&Request::none()).is_err());
    assert!(router.select(&Request::none()).is_err());
    assert_eq!(diary.take(), []);
}

/// Names whatever worker it is told to.
#[derive(Default)]
struct Stubborn {
    single: Mutex<Option<WorkerId>>,
    pair: Mutex<Option<(WorkerId, WorkerId)>>,
    asked: AtomicUsize,
}

impl RoutingPolicy for Stubborn {
    fn name(&self) -> &str {
        "stubborn"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        self.asked.fetch_add(1, Relaxed);
        let named = *self.single.lock().unwrap();
        named.map(|id| Decision::new(id, Reason::Custom)).ok_or_else(|| candidates.none())
    }

    fn select_pair(
        &self,
        prefill: &Candidates<'_>,
        _decode: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<PairDecision, RoutingError> {
        let (p, d) = self.pair.lock().unwrap().ok_or_else(|| prefill.none())?;
        let decision = |id| Decision::new(id, Reason::Custom);
        Ok(PairDecision { prefill: decision(p), decode: decision(d) })
    }
}

#[test]
fn naming_a_worker_that_is_no_candidate_is_an_error_and_charges_nothing() {
    let policy = Arc::new(Stubborn::default());
    let router = router_of(support::config("random"), Arc::clone(&policy) as Arc<_>);
    let regular = add_many(&router, Role::Regular, 4);
    let prefill = add_many(&router, Role::Prefill, 1)[0];
    let decode = add_many(&router, Role::Decode, 1)[0];
    let gone = add(&router, WorkerSpec::new("gone"));
    router.remove_worker(gone).unwrap();
    router.drain_worker(regular[1]).unwrap();
    router.set_health(regular[2], pointsman::HostHealth::Unhealthy).unwrap();
    let excluded = [regular[3]];
    let request = Request::none().exclude(&excluded);
    let old = WorkerId::from_raw(regular[0].to_raw() - (1 << 16));
    let next = WorkerId::from_raw(regular[0].to_raw() + (1 << 16));
    let nonsense = [WorkerId::from_raw(0), WorkerId::from_raw(u64::MAX), gone, old, next];
    let ineligible = [regular[1], regular[2], regular[3], prefill, decode];
    let refused = |result: RoutingError, worker| {
        let RoutingError::Policy(failure) = result else { panic!("{result}") };
        assert_eq!(failure.name, "own");
        assert_eq!(failure.source, PolicyError::NotACandidate { worker });
    };
    for worker in nonsense.into_iter().chain(ineligible) {
        *policy.single.lock().unwrap() = Some(worker);
        refused(refusal(router.select(&request)), worker);
    }
    for (p, d, wrong) in [
        (decode, prefill, decode),
        (regular[0], decode, regular[0]),
        (prefill, prefill, prefill),
        (prefill, gone, gone),
    ] {
        *policy.pair.lock().unwrap() = Some((p, d));
        refused(refusal(router.select_pair(&request)), wrong);
    }
    assert_idle(&router);
    assert!(router.workers().iter().all(|status| status.selections == 0));
    *policy.single.lock().unwrap() = Some(regular[0]);
    assert_eq!(pick(&router, &request), Ok(regular[0]));
    *policy.pair.lock().unwrap() = Some((prefill, decode));
    assert!(router.select_pair(&request).is_ok());
    assert_idle(&router);
}

#[test]
fn insisting_on_a_full_worker_ends_and_charges_nothing() {
    let policy = Arc::new(Stubborn::default());
    let router = router_of(support::config("random"), Arc::clone(&policy) as Arc<_>);
    let workers = add_many(&router, Role::Regular, 2);
    router.set_max_in_flight(workers[0], Some(1)).unwrap();
    *policy.single.lock().unwrap() = Some(workers[0]);
    let held = router.select(&Request::none()).unwrap();
    let before = policy.asked.load(Relaxed);
    assert!(router.select(&Request::none()).is_err());
    assert!((2..100).contains(&(policy.asked.load(Relaxed) - before)), "asked again, not for ever");
    assert_eq!(support::in_flight(&router, workers[0]), 1);
    assert_eq!(router.metrics().tickets.open, 1);
    drop(held);
    assert_idle(&router);
}

#[test]
fn an_error_of_its_own_reaches_the_host() {
    struct Broken;
    impl RoutingPolicy for Broken {
        fn name(&self) -> &str {
            "broken"
        }

        fn select_single(
            &self,
            _candidates: &Candidates<'_>,
            _request: &RequestView<'_>,
        ) -> Result<Decision, RoutingError> {
            let source = PolicyError::Failed("out of ideas".into());
            let failure = pointsman::PolicyFailure::new("broken", source);
            Err(RoutingError::Policy(Box::new(failure)))
        }
    }
    let router = router_of(support::config("random"), Arc::new(Broken));
    Role::ALL.iter().for_each(|&role| drop(add_many(&router, role, 1)));
    let told = r#"policy "broken": out of ideas"#;
    assert_eq!(refusal(router.select(&Request::none())).to_string(), told);
    assert_eq!(refusal(router.select_pair(&Request::none())).to_string(), told);
    assert_idle(&router);
}

/// Panics where it is told to.
#[derive(Default)]
struct Panics {
    on_added: AtomicBool,
    in_select: AtomicBool,
    on_dispatch: AtomicBool,
    on_first_token: AtomicBool,
    on_complete: AtomicBool,
}

fn trip(wire: &AtomicBool) {
    if wire.load(Relaxed) {
        std::panic::resume_unwind(Box::new("tripped"));
    }
}

impl RoutingPolicy for Panics {
    fn name(&self) -> &str {
        "panics"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        trip(&self.in_select);
        let first = candidates.iter().next().ok_or_else(|| candidates.none())?;
        Ok(Decision::new(first.id(), Reason::Custom))
    }

    fn on_worker_added(&self, _worker: &WorkerInfo) {
        trip(&self.on_added);
    }

    fn on_dispatch(&self, _dispatch: &Dispatch<'_>) {
        trip(&self.on_dispatch);
    }

    fn on_first_token(&self, _event: &FirstToken) {
        trip(&self.on_first_token);
    }

    fn on_request_complete(&self, _event: &Completion) {
        trip(&self.on_complete);
    }

    fn wants_events(&self) -> bool {
        true
    }
}

#[test]
fn one_that_panics_leaves_nothing_charged() {
    let policy = Arc::new(Panics::default());
    let router = router_of(support::config("random"), Arc::clone(&policy) as Arc<_>);
    Role::ALL.iter().for_each(|&role| drop(add_many(&router, role, 1)));
    let panics = |call: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    for wire in [&policy.in_select, &policy.on_dispatch] {
        wire.store(true, Relaxed);
        panics(&|| drop(router.select(&Request::none())));
        panics(&|| drop(router.select_pair(&Request::none())));
        wire.store(false, Relaxed);
        assert_idle(&router);
    }
    let ticket = router.select_pair(&Request::none()).unwrap().into_ticket();
    policy.on_first_token.store(true, Relaxed);
    panics(&|| {
        let _ = router.first_token(ticket, None);
    });
    let metrics = router.metrics();
    let load = |role| metrics.workers.iter().find(|w| w.info.role == role).unwrap().in_flight;
    assert_eq!((load(Role::Prefill), load(Role::Decode)), (0, 1), "released all the same");
    policy.on_complete.store(true, Relaxed);
    panics(&|| {
        let _ = router.complete(ticket, Outcome::Success, USAGE);
    });
    assert_idle(&router);
    let selection = router.select(&Request::none()).unwrap();
    let ticket = selection.into_ticket();
    panics(&|| {
        let _ = router.complete(ticket, Outcome::Success, USAGE);
    });
    assert_idle(&router);
}

#[test]
fn a_worker_that_a_policy_panics_about_is_not_added() {
    let policy = Arc::new(Panics::default());
    let router = router_of(support::config("random"), Arc::clone(&policy) as Arc<_>);
    let spec = || WorkerSpec::new("http://w");
    policy.on_added.store(true, Relaxed);
    let added = catch_unwind(AssertUnwindSafe(|| router.add_worker(spec())));
    assert!(added.is_err());
    assert!(router.workers().is_empty());
    assert_eq!(router.worker_by_url("http://w"), None);
    assert!(router.select(&Request::none()).is_err());
    policy.on_added.store(false, Relaxed);
    let id = router.add_worker(spec()).expect("its URL is free");
    assert_eq!(router.select(&Request::none()).unwrap().worker(), id);
}

/// Removes the worker that it has just chosen, the first few times.
struct Saboteur {
    router: Mutex<Option<Router>>,
    left: AtomicUsize,
    told: AtomicUsize,
    on_dispatch: bool,
}

impl Saboteur {
    fn strike(&self, worker: WorkerId) {
        let router = self.router.lock().unwrap().clone();
        if let Some(router) = router {
            if self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                router.remove_worker(worker).unwrap();
            }
        }
    }
}

impl RoutingPolicy for Saboteur {
    fn name(&self) -> &str {
        "saboteur"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let first = candidates.iter().next().ok_or_else(|| candidates.none())?;
        if !self.on_dispatch {
            self.strike(first.id());
        }
        Ok(Decision::new(first.id(), Reason::Custom))
    }

    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        self.told.fetch_add(1, Relaxed);
        if self.on_dispatch {
            self.strike(dispatch.decision.worker);
        }
    }

    fn on_request_complete(&self, _event: &Completion) {
        self.told.fetch_sub(1, Relaxed);
    }

    fn wants_events(&self) -> bool {
        true
    }
}

#[test]
fn a_worker_removed_under_a_request_s_feet_is_replaced_by_another() {
    for on_dispatch in [false, true] {
        let policy = Arc::new(Saboteur {
            router: Mutex::new(None),
            left: AtomicUsize::new(3),
            told: AtomicUsize::new(0),
            on_dispatch,
        });
        let router = router_of(support::config("random"), Arc::clone(&policy) as Arc<_>);
        let workers = add_many(&router, Role::Regular, 5);
        *policy.router.lock().unwrap() = Some(router.clone());
        let selection = router.select(&Request::none()).unwrap();
        assert_eq!(selection.worker(), workers[3], "three were removed");
        assert_eq!(policy.told.load(Relaxed), 1, "each dispatch but the last has ended");
        assert_eq!(support::in_flight(&router, workers[3]), 1);
        assert_eq!(router.metrics().tickets.open, 1);
        // The last ones go, too: then there is no worker.
        drop(selection);
        policy.left.store(2, Relaxed);
        let error = refusal(router.select(&Request::none()));
        assert!(matches!(error, RoutingError::NoHealthyWorkers { workers: 0, .. }), "{error}");
        assert_eq!(policy.told.load(Relaxed), 0);
        assert_idle(&router);
        *policy.router.lock().unwrap() = None;
    }
}
