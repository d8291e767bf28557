//! The proposal's trait over synchronous policies: what becomes of a request after its selection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use pointsman::adapter::{Adapter, AdapterOptions, LoadKeeping, RoutingPolicy};
use pointsman::{
    LoadReport, Outcome, PolicyConfig, PolicyError, Reason, Role, RoutingError, Worker, WorkerId,
    WorkerState,
    policy::{Candidates, Decision, PolicyFactory, RequestView},
};
use serde_json::json;

use crate::engine::{engines, ready};
use crate::recorder::{Event, Recorder, end};

#[test]
fn a_completion_is_that_of_the_oldest_request() {
    let recorder = Recorder::new();
    let adapter = Adapter::new(recorder.clone());
    let (engines, workers) = engines("http://w", 1);
    for _ in 0..3 {
        ready(adapter.select_single(&workers, &json!({}))).unwrap();
    }
    assert_eq!(engines[0].in_flight(), 3);
    assert_eq!(recorder.take()[0], Event::Added("http://w0".to_owned()));
    for (work, success) in [(0, true), (1, false), (2, true)] {
        adapter.on_request_complete("http://w0", success);
        let outcome = if success { Outcome::Success } else { Outcome::WorkerError };
        assert_eq!(recorder.take(), [end(outcome, work, false)]);
    }
    // One too many, and one of an unknown URL.
    adapter.on_request_complete("http://w0", true);
    adapter.on_request_complete("http://nobody", true);
    assert_eq!((recorder.take(), engines[0].in_flight()), (vec![], 0));
}

#[test]
fn a_pair_is_told_like_one_request_whose_prefill_ends_at_the_first_token() {
    let recorder = Recorder::new();
    let adapter = Adapter::new(recorder.clone());
    let (p, prefill) = engines("http://p", 1);
    let (d, decode) = engines("http://d", 1);
    let loads = || (p[0].in_flight(), d[0].in_flight());
    ready(adapter.select_pair(&prefill, &decode, &json!({}))).unwrap();
    let told = recorder.take();
    assert_eq!(told[2..], [Event::Dispatch(Role::Prefill, 0), Event::Dispatch(Role::Decode, 1)]);
    assert_eq!(loads(), (1, 1));

    adapter.on_request_complete("http://p0", true);
    assert_eq!((recorder.take(), loads()), (vec![Event::FirstToken(0)], (0, 1)));
    adapter.on_request_complete("http://d0", true);
    assert_eq!((recorder.take(), loads()), (vec![end(Outcome::Success, 0, true)], (0, 0)));
}

#[test]
fn the_decode_workers_completion_ends_the_pair() {
    let recorder = Recorder::new();
    let adapter = Adapter::new(recorder.clone());
    let (p, prefill) = engines("http://p", 1);
    let (d, decode) = engines("http://d", 1);
    for _ in 0..2 {
        ready(adapter.select_pair(&prefill, &decode, &json!({}))).unwrap();
    }
    recorder.take();
    adapter.on_request_complete("http://d0", true);
    assert_eq!(recorder.take(), [end(Outcome::Success, 0, false)]);
    assert_eq!((p[0].in_flight(), d[0].in_flight()), (1, 1));
    // The prefill worker's own completion of the same pair is recognised.
    adapter.on_request_complete("http://p0", true);
    assert_eq!((recorder.take(), p[0].in_flight()), (vec![], 1));
    adapter.on_request_complete("http://p0", true);
    assert_eq!((recorder.take(), p[0].in_flight()), (vec![Event::FirstToken(2)], 0));
}

#[test]
fn a_failed_prefill_ends_the_pair_for_the_policy() {
    let recorder = Recorder::new();
    let adapter = Adapter::new(recorder.clone());
    let (p, prefill) = engines("http://p", 1);
    let (d, decode) = engines("http://d", 1);
    ready(adapter.select_pair(&prefill, &decode, &json!({}))).unwrap();
    recorder.take();
    adapter.on_request_complete("http://p0", false);
    assert_eq!(recorder.take(), [end(Outcome::WorkerError, 0, false)]);
    adapter.on_request_complete("http://d0", false);
    assert_eq!((recorder.take(), p[0].in_flight(), d[0].in_flight()), (vec![], 0, 0));
}

#[test]
fn one_worker_may_play_both_roles() {
    let recorder = Recorder::new();
    let adapter = Adapter::new(recorder.clone());
    let (engines, workers) = engines("http://w", 1);
    ready(adapter.select_pair(&workers, &workers, &json!({}))).unwrap();
    assert_eq!((recorder.take().len(), engines[0].in_flight()), (3, 2));
    adapter.on_request_complete("http://w0", true);
    adapter.on_request_complete("http://w0", true);
    assert_eq!(recorder.take(), [Event::FirstToken(0), end(Outcome::Success, 0, true)]);
    assert_eq!(engines[0].in_flight(), 0);
}

#[test]
fn a_pair_that_lacks_a_role_commits_nothing() {
    let recorder = Recorder::new();
    let adapter = Adapter::new(recorder.clone());
    let (p, prefill) = engines("http://p", 1);
    let (d, decode) = engines("http://d", 1);
    d[0].set_healthy(false);
    let error = ready(adapter.select_pair(&prefill, &decode, &json!({}))).unwrap_err();
    assert_eq!(error.role(), Some(Role::Decode));
    assert_eq!((p[0].in_flight(), d[0].in_flight()), (0, 0));
    assert!(!recorder.take().iter().any(|event| matches!(event, Event::Dispatch(..))));
}

#[test]
fn a_future_that_is_never_polled_has_done_nothing() {
    let adapter = Adapter::new(Recorder::new());
    let (engines, workers) = engines("http://w", 1);
    let request = json!({});
    drop(adapter.select_single(&workers, &request));
    assert_eq!(engines[0].in_flight(), 0);
}

#[test]
fn forgotten_requests_expire() {
    let recorder = Recorder::new();
    let adapter = Adapter::new(recorder.clone());
    let (engines, workers) = engines("http://w", 1);
    for _ in 0..2 {
        ready(adapter.select_single(&workers, &json!({}))).unwrap();
    }
    recorder.take();
    adapter.expire(Duration::from_secs(3600));
    assert_eq!((recorder.take(), engines[0].in_flight()), (vec![], 2));
    adapter.expire(Duration::ZERO);
    let expired = |work| end(Outcome::Expired, work, false);
    assert_eq!((recorder.take(), engines[0].in_flight()), (vec![expired(0), expired(1)], 0));
}

#[test]
fn a_past_deadline_is_noticed_by_later_requests() {
    let mut options = AdapterOptions::default();
    options.deadline_secs = 1e-9;
    let adapter = Adapter::with_options(Recorder::new(), &options).unwrap();
    let (engines, workers) = engines("http://w", 1);
    for _ in 0..100 {
        ready(adapter.select_single(&workers, &json!({}))).unwrap();
        while adapter.now() == pointsman::Time::default() {}
    }
    assert!(engines[0].in_flight() < 100);
    options.deadline_secs = f64::NAN;
    assert!(Adapter::with_options(Recorder::new(), &options).is_err());
}

#[test]
fn the_load_can_be_left_to_the_host() {
    let mut options = AdapterOptions::default();
    options.load = LoadKeeping::Host;
    for name in ["power_of_two", "cache_aware"] {
        let policy = PolicyFactory::create(&PolicyConfig::named(name)).unwrap();
        let adapter = Adapter::with_options(policy, &options).unwrap();
        let (engines, workers) = engines("http://w", 1);
        engines[0].set_load(7);
        ready(adapter.select_single(&workers, &json!({"text": "x"}))).unwrap();
        assert_eq!(engines[0].in_flight(), 7);
        adapter.on_request_complete("http://w0", true);
        assert_eq!(engines[0].in_flight(), 7);
    }
}

#[test]
fn a_load_that_the_host_has_reset_stays_at_zero() {
    let adapter = Adapter::new(Recorder::new());
    let (engines, workers) = engines("http://w", 1);
    ready(adapter.select_single(&workers, &json!({}))).unwrap();
    engines[0].set_load(0);
    adapter.on_request_complete("http://w0", true);
    assert_eq!(engines[0].in_flight(), 0);
}

/// Names a worker that does not exist.
struct Astray;

impl pointsman::RoutingPolicy for Astray {
    fn name(&self) -> &str {
        "astray"
    }

    fn select_single(
        &self,
        _candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        Ok(Decision::new(WorkerId::from_raw(77 << 16 | 5), Reason::Custom))
    }
}

#[test]
fn a_policy_that_names_a_stranger_is_an_error() {
    let adapter = Adapter::new(Arc::new(Astray));
    let (_, workers) = engines("http://w", 8);
    let error = ready(adapter.select_single(&workers, &json!({}))).unwrap_err();
    let RoutingError::Policy(failure) = error else { panic!("{error}") };
    assert!(matches!(failure.source, PolicyError::NotACandidate { .. }));
    assert_eq!(failure.name, "astray");
}

/// A host's type that embeds the library's row, and with it reports of the worker's own.
#[derive(Debug)]
struct Reporting {
    url: &'static str,
    row: WorkerState,
}

impl Worker for Reporting {
    fn url(&self) -> &str {
        self.url
    }

    fn is_healthy(&self) -> bool {
        true
    }

    fn load(&self) -> &AtomicUsize {
        self.row.load()
    }

    fn state(&self) -> Option<&WorkerState> {
        Some(&self.row)
    }
}

#[test]
fn reports_of_an_embedded_row_win_over_the_load() {
    let adapter = Adapter::from_config(&PolicyConfig::named("power_of_two")).unwrap();
    let worker = |url| Arc::new(Reporting { url, row: WorkerState::new() });
    let (busy, idle) = (worker("busy"), worker("idle"));
    let report = |running| LoadReport { running, at: adapter.now(), ..Default::default() };
    busy.row.store_report(&report(50));
    idle.row.store_report(&report(0));
    let workers: Vec<Arc<dyn Worker>> = vec![busy, idle.clone()];
    for _ in 0..5 {
        assert_eq!(ready(adapter.select_single(&workers, &json!({}))).unwrap().url(), "idle");
    }
    assert_eq!(idle.load().load(Relaxed), 5);
}

#[test]
fn loads_return_to_zero_under_concurrency() {
    let configs = ["random", "power_of_two", "cache_aware"].map(PolicyConfig::named);
    for config in configs {
        let adapter = Adapter::from_config(&config).unwrap();
        let (regular, singles) = engines("http://w", 4);
        let (p, prefill) = engines("http://p", 3);
        let (d, decode) = engines("http://d", 2);
        let request = json!({"text": "the same prompt for everybody ".repeat(40)});
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (adapter, request, regular) = (&adapter, &request, &regular);
                let (singles, prefill, decode) = (&singles, &prefill, &decode);
                scope.spawn(move || {
                    for i in 0..500 {
                        regular[thread].set_healthy((i / 50) % 2 == 0 || thread == 0);
                        let worker = ready(adapter.select_single(singles, request)).unwrap();
                        let (p, d) = ready(adapter.select_pair(prefill, decode, request)).unwrap();
                        adapter.on_request_complete(worker.url(), i % 3 == 0);
                        match i % 3 {
                            0 => adapter.on_request_complete(p.url(), i % 5 != 0),
                            1 => {}
                            _ => adapter.on_request_complete(p.url(), true),
                        }
                        adapter.on_request_complete(d.url(), true);
                    }
                });
            }
        });
        // Threads complete each other's requests, as a URL is all that they name.
        adapter.expire(Duration::ZERO);
        let loads = regular.iter().chain(&p).chain(&d).map(|engine| engine.in_flight());
        assert!(loads.eq([0; 9]), "{}", adapter.name());
    }
}
