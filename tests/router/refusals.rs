//! What a refused request is told: a limit is told as one, and nothing else is.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use pointsman::{
    Outcome, PolicyError, PolicyFailure, Reason, Request, Role, Router, RoutingError,
    RoutingPolicy, Selection, Usage, WorkerId, WorkerSpec,
    policy::{Candidates, Decision, RequestView},
};

use crate::support::{self, POLICIES, add, assert_idle, in_flight, refusal, router_of};

/// Takes the first candidate, but wants no decode worker whose URL begins with "never".
struct Choosy;

impl RoutingPolicy for Choosy {
    fn name(&self) -> &str {
        "choosy"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let count = candidates.iter().count() as u32;
        let wanted = candidates.iter().find(|candidate| {
            candidate.info().is_some_and(|worker| !worker.url.starts_with("never"))
        });
        match wanted {
            Some(candidate) => Ok(Decision::new(candidate.id(), Reason::Custom)),
            None if count == 0 => Err(candidates.none()),
            None => Err(refused(count)),
        }
    }
}

fn refused(candidates: u32) -> RoutingError {
    RoutingError::from(PolicyFailure::new("choosy", PolicyError::Refused { candidates }))
}

fn router() -> Router {
    router_of(support::config("random"), Arc::new(Choosy))
}

/// A router that can track 64 requests, all in flight on workers of these limits.
fn full_table(name: &str, role: Role, limits: &[Option<u32>]) -> (Router, Vec<WorkerId>) {
    let mut config = support::config(name);
    config.max_tickets = 64;
    let router = Router::new(config).unwrap();
    let spec = |i: usize, limit: Option<u32>| {
        let spec = WorkerSpec::new(format!("{role}-{i}")).role(role);
        limit.into_iter().fold(spec, WorkerSpec::max_in_flight)
    };
    let ids = limits.iter().enumerate().map(|(i, &limit)| add(&router, spec(i, limit))).collect();
    (router, ids)
}

#[test]
fn limits_hold_with_a_full_ticket_table() {
    for name in POLICIES {
        let (router, workers) = full_table(name, Role::Regular, &[Some(70), Some(70)]);
        let asked: Vec<_> = (0..1000).map(|_| router.select(&Request::none())).collect();
        let (served, refused): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
        assert_eq!((served.len(), refused.len()), (64, 936), "{name}");
        let expected = RoutingError::AllBusy { role: Role::Regular, busy: 2 };
        assert!(refused.into_iter().all(|refused| refusal(refused) == expected), "{name}");
        assert_eq!(router.metrics().tickets.untracked, 0);
        let sum: usize = workers.iter().map(|&worker| in_flight(&router, worker)).sum();
        assert_eq!(sum, 64, "{name}: a refused request charges nothing");
        drop(served);
        assert!(router.select(&Request::none()).unwrap().ticket().is_tracked());
        assert_idle(&router);
    }
}

#[test]
fn what_cannot_be_tracked_goes_to_workers_without_a_limit() {
    for name in POLICIES {
        let limits = [Some(1000), None, Some(1000), None];
        let (router, workers) = full_table(name, Role::Regular, &limits);
        let held: Vec<_> = (0..64).map(|_| router.select(&Request::none()).unwrap()).collect();
        let beyond = (0..4000).map(|_| {
            let selection = router.select(&Request::text("not tracked")).unwrap();
            assert!(!selection.ticket().is_tracked());
            selection.worker()
        });
        let tally = support::tally(&workers, beyond);
        assert_eq!([tally[0], tally[2]], [0, 0], "{name}");
        support::assert_shares(&[tally[1], tally[3]], &[1.0; 2]);
        // The request's own restrictions hold, too.
        let excluded = [workers[1], workers[3]];
        let error = refusal(router.select(&Request::none().exclude(&excluded)));
        assert_eq!(error, RoutingError::AllBusy { role: Role::Regular, busy: 2 }, "{name}");
        drop(held);
        assert_idle(&router);
    }
}

#[test]
fn a_pair_that_cannot_be_tracked_needs_two_workers_without_a_limit() {
    for name in POLICIES {
        let (router, _) = full_table(name, Role::Prefill, &[Some(1000), None]);
        let decode = add(&router, WorkerSpec::new("d").role(Role::Decode));
        let held: Vec<_> = (0..64).map(|_| router.select_pair(&Request::none()).unwrap()).collect();
        for _ in 0..100 {
            let pair = router.select_pair(&Request::none()).unwrap();
            assert!(!pair.ticket().is_tracked());
            assert_eq!(pair.prefill().url().as_deref(), Some("prefill-1"), "{name}");
        }
        router.set_max_in_flight(decode, Some(1000)).unwrap();
        let error = refusal(router.select_pair(&Request::none()));
        assert_eq!(error, RoutingError::AllBusy { role: Role::Decode, busy: 1 }, "{name}");
        drop(held);
        assert_idle(&router);
    }
}

#[test]
fn a_policy_s_own_refusal_is_no_limit() {
    let router = router();
    let ask = || router.select(&Request::none());
    add(&router, WorkerSpec::new("never"));
    assert_eq!(refusal(ask()), refused(1));
    let limited = add(&router, WorkerSpec::new("a").max_in_flight(1));
    let held = ask().unwrap();
    assert_eq!(held.worker(), limited);
    // Of the two, one is full and the other is not wanted.
    assert_eq!(refusal(ask()), refused(1));
}

#[test]
fn a_policy_s_own_refusal_of_a_pair_stands_whatever_the_order_of_the_groups() {
    for order in [["x", "y"], ["y", "x"]] {
        let router = router();
        let ask = || router.select_pair(&Request::none());
        for group in order {
            let spec = |url: String, role| WorkerSpec::new(url).role(role).group(group);
            add(&router, spec(format!("p{group}"), Role::Prefill));
            let decode = if group == "x" { "never".to_owned() } else { format!("d{group}") };
            add(&router, spec(decode, Role::Decode).max_in_flight(1));
        }
        // Group x's decode worker is not wanted, group y's serves until it is full.
        let held = ask().unwrap();
        assert_eq!(refusal(ask()), refused(1), "{order:?}");
        drop(held);
        assert!(ask().is_ok());
    }
}

/// A router with a counter of how often it has told of room, and one worker with this limit.
fn told(limit: u32) -> (Router, WorkerId, Arc<AtomicUsize>) {
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let mut config = support::config("power_of_two");
    config.max_tickets = 64;
    let builder = Router::builder().config(config);
    let builder = builder.on_room(move || {
        counted.fetch_add(1, Relaxed);
    });
    let router = builder.build().unwrap();
    let worker = add(&router, WorkerSpec::new("w").max_in_flight(limit));
    (router, worker, told)
}

#[test]
fn a_refused_host_is_told_once_when_a_place_comes_free() {
    let (router, worker, told) = told(2);
    let told = || told.load(Relaxed);
    let ask = || router.select(&Request::none());
    drop(ask().unwrap());
    assert_eq!(told(), 0, "nobody was refused");
    let held = [ask().unwrap(), ask().unwrap()];
    (0..3).for_each(|_| drop(refusal(ask())));
    assert_eq!(told(), 0);
    drop(held);
    assert_eq!(told(), 1, "the first of the two places, and only that");
    // A refusal that limits have no part in waits for nothing.
    router.drain_worker(worker).unwrap();
    refusal(ask());
    router.resume_worker(worker).unwrap();
    assert_eq!(told(), 1);
}

/// Everything that may give a refused request a place, or leave it nothing to wait for.
#[test]
fn whatever_gives_room_is_told() {
    type Give = fn(&Router, WorkerId, Selection);
    let ways: [(&str, Give); 9] = [
        ("success", |_, _, held| held.complete(Outcome::Success, Usage::default()).unwrap()),
        ("failure", |_, _, held| held.complete(Outcome::WorkerError, Usage::default()).unwrap()),
        ("dropped", |_, _, held| drop(held)),
        ("expired", |router, _, held| {
            router.at(support::SECOND * 1_000_000).tick();
            held.into_ticket();
        }),
        ("limit", |router, worker, held| {
            router.set_max_in_flight(worker, None).unwrap();
            held.into_ticket();
        }),
        ("added", |router, _, held| {
            add(router, WorkerSpec::new("another"));
            held.into_ticket();
        }),
        ("removed", |router, worker, held| {
            router.remove_worker(worker).unwrap();
            held.into_ticket();
        }),
        ("drained", |router, worker, held| {
            router.drain_worker(worker).unwrap();
            held.into_ticket();
        }),
        ("policy", |router, _, held| {
            router.set_policy(&support::policy("random")).unwrap();
            held.into_ticket();
        }),
    ];
    for (name, give) in ways {
        let (router, worker, told) = told(1);
        let held = router.select(&Request::none()).unwrap();
        refusal(router.select(&Request::none()));
        assert_eq!(told.load(Relaxed), 0, "{name}");
        give(&router, worker, held);
        assert!(told.load(Relaxed) >= 1, "{name}");
    }
}

#[test]
fn the_first_token_of_a_pair_is_told() {
    let (router, _, told) = told(1);
    add(&router, WorkerSpec::new("p").role(Role::Prefill).max_in_flight(1));
    add(&router, WorkerSpec::new("d").role(Role::Decode));
    let held = router.select_pair(&Request::none()).unwrap();
    refusal(router.select_pair(&Request::none()));
    held.first_token(None).unwrap();
    assert_eq!(told.load(Relaxed), 1);
    assert!(router.select_pair(&Request::none()).is_ok());
}

/// A hook that routes again at once, with a full ticket table: it ends, and serves who waits.
#[test]
fn a_hook_may_select() {
    for limit in [64, 1000] {
        let place: Arc<Mutex<Option<Router>>> = Arc::default();
        let served = Arc::new(AtomicUsize::new(0));
        let (inside, count) = (Arc::clone(&place), Arc::clone(&served));
        let mut config = support::config("power_of_two");
        config.max_tickets = 64;
        let builder = Router::builder().config(config).on_room(move || {
            let Some(router) = inside.lock().unwrap().clone() else { return };
            // Until one is refused again.
            while let Ok(selection) = router.select(&Request::none()) {
                selection.into_ticket();
                count.fetch_add(1, Relaxed);
            }
        });
        let router = builder.build().unwrap();
        add(&router, WorkerSpec::new("w").max_in_flight(limit));
        let held: Vec<_> = (0..64).map(|_| router.select(&Request::none()).unwrap()).collect();
        *place.lock().unwrap() = Some(router.clone());
        refusal(router.select(&Request::none()));
        drop(held);
        assert_eq!(served.load(Relaxed), 64, "{limit}: each place that came free");
        // The hook holds the router.
        place.lock().unwrap().take();
    }
}

#[test]
fn a_task_waits_for_room_and_is_woken() {
    struct Counts(AtomicUsize);
    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let router = support::router("random");
    let worker = add(&router, WorkerSpec::new("w").max_in_flight(1));
    let counts = Arc::new(Counts(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&counts));
    let mut cx = Context::from_waker(&waker);
    let request = Request::none();
    let Poll::Ready(Ok(held)) = router.poll_select(&request, &mut cx) else { panic!("it is free") };
    for _ in 0..3 {
        assert!(router.poll_select(&request, &mut cx).is_pending());
    }
    assert_eq!(counts.0.load(Relaxed), 0);
    drop(held);
    assert_eq!(counts.0.load(Relaxed), 1, "once, however often it has asked");
    let Poll::Ready(Ok(held)) = router.poll_select(&request, &mut cx) else { panic!("it is free") };
    assert!(router.poll_select(&request, &mut cx).is_pending());
    // Nothing is left to wait for.
    router.remove_worker(worker).unwrap();
    assert_eq!(counts.0.load(Relaxed), 2);
    drop(held);
    let Poll::Ready(Err(error)) = router.poll_select(&request, &mut cx) else {
        panic!("no worker")
    };
    assert!(matches!(error, RoutingError::NoHealthyWorkers { .. }));
}

/// Threads that wait for each other's places, and nobody asks without having been told: none is forgotten.
#[test]
fn no_wake_up_is_lost() {
    const THREADS: usize = 8;
    const EACH: usize = 2_000;
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut config = support::config("power_of_two");
    config.max_tickets = 64;
    let router = Router::new(config).unwrap();
    for i in 0..2 {
        add(&router, WorkerSpec::new(format!("w{i}")).max_in_flight(1));
    }
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                let mut cx = Context::from_waker(&waker);
                for _ in 0..EACH {
                    let selection = loop {
                        match router.poll_select(&Request::none(), &mut cx) {
                            Poll::Ready(selection) => break selection.unwrap(),
                            Poll::Pending => std::thread::park(),
                        }
                    };
                    std::thread::yield_now();
                    drop(selection);
                }
            });
        }
    });
    assert_idle(&router);
    let selected: u64 = router.metrics().workers.iter().map(|worker| worker.selections).sum();
    assert_eq!(selected, (THREADS * EACH) as u64);
}
