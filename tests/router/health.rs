//! Health: healthy, ejected, probation and back; pauses and slow starts. All times are told.

use std::time::Duration;

use pointsman::{Outcome, Request, Role, Router, RoutingError, Usage, WorkerId, WorkerStatus};

use crate::support::{self, SECOND, add, add_many};

const FAILED: Outcome = Outcome::WorkerError;

/// A router with this many regular workers, passive health at its defaults.
fn pool(count: usize) -> (Router, Vec<WorkerId>) {
    let router = support::router("random");
    let workers = add_many(&router, Role::Regular, count);
    (router, workers)
}

/// One request to this worker, which ends so.
fn serve(router: &Router, worker: WorkerId, outcome: Outcome, now: u64) {
    let selection = router.at(now).select(&Request::none().allow(&[worker])).expect("eligible");
    router.at(now).complete(selection, outcome, Usage::default()).unwrap();
}

fn eject(router: &Router, worker: WorkerId, now: u64) {
    (0..3).for_each(|_| serve(router, worker, FAILED, now));
    assert!(!status(router, worker, now).healthy);
}

fn status(router: &Router, worker: WorkerId, now: u64) -> WorkerStatus {
    router.at(now).tick();
    router.at(now).workers().into_iter().find(|s| s.info.id == worker).unwrap()
}

fn is_eligible(router: &Router, worker: WorkerId, now: u64) -> bool {
    router.at(now).select(&Request::none().allow(&[worker])).is_ok()
}

#[test]
fn three_failures_in_a_row_eject() {
    for failure in [Outcome::WorkerError, Outcome::Timeout] {
        let (router, workers) = pool(2);
        serve(&router, workers[0], failure, 0);
        serve(&router, workers[0], failure, 0);
        assert!(is_eligible(&router, workers[0], 0), "two are not three");
        serve(&router, workers[0], failure, 0);
        assert!(!is_eligible(&router, workers[0], 0));
        assert!(is_eligible(&router, workers[1], 0));
        let request = Request::none().exclude(&workers[1..]);
        let error = router.at(0).select(&request).unwrap_err();
        let RoutingError::NoHealthyWorkers { workers: 2, unhealthy: 1, excluded: 1, .. } = error
        else {
            panic!("{error}");
        };
    }
}

#[test]
fn a_success_in_between_begins_the_row_anew() {
    let (router, workers) = pool(2);
    for _ in 0..10 {
        serve(&router, workers[0], FAILED, 0);
        serve(&router, workers[0], FAILED, 0);
        serve(&router, workers[0], Outcome::Success, 0);
    }
    assert!(is_eligible(&router, workers[0], 0));
}

#[test]
fn what_is_not_the_worker_s_fault_never_counts() {
    let (router, workers) = pool(2);
    for _ in 0..20 {
        serve(&router, workers[0], Outcome::ClientCancelled, 0);
        serve(&router, workers[0], Outcome::ClientError, 0);
        serve(&router, workers[0], Outcome::Expired, 0);
        serve(&router, workers[0], Outcome::Overloaded { retry_after: Duration::ZERO }, 0);
    }
    assert!(status(&router, workers[0], 1).healthy);
    assert_eq!(status(&router, workers[0], 1).effective_weight, 1.0);
    // Nor does it count in the worker's favour.
    for outcome in [FAILED, Outcome::ClientError, FAILED, Outcome::ClientCancelled, FAILED] {
        serve(&router, workers[0], outcome, 0);
    }
    assert!(!status(&router, workers[0], 1).healthy);
}

#[test]
fn after_ten_seconds_probation_lets_in_one_request_at_a_time() {
    let (router, workers) = pool(2);
    eject(&router, workers[0], SECOND);
    let only = [workers[0]];
    let request = Request::none().allow(&only);
    assert!(router.at(11 * SECOND - 1).select(&request).is_err());
    let trial =
        router.at(11 * SECOND).select(&request).expect("probation begins by the call alone");
    assert!(status(&router, workers[0], 11 * SECOND).on_probation);
    let error = router.at(11 * SECOND).select(&request).unwrap_err();
    assert_eq!(error, RoutingError::AllBusy { role: Role::Regular, busy: 1 });
    router.at(12 * SECOND).complete(trial, Outcome::Success, Usage::default()).unwrap();
    let trial = router.at(12 * SECOND).select(&request).expect("one by one");
    assert!(router.at(12 * SECOND).select(&request).is_err());
    router.at(12 * SECOND).complete(trial, Outcome::Success, Usage::default()).unwrap();
    let status = status(&router, workers[0], 12 * SECOND);
    assert!(status.healthy && !status.on_probation, "two successes");
    let both = [router.at(12 * SECOND).select(&request), router.at(12 * SECOND).select(&request)];
    assert!(both.iter().all(Result::is_ok));
}

#[test]
fn a_worker_s_own_limit_is_back_after_probation() {
    let (router, workers) = pool(2);
    router.set_max_in_flight(workers[0], Some(2)).unwrap();
    eject(&router, workers[0], 0);
    router.set_max_in_flight(workers[0], Some(3)).unwrap();
    let only = [workers[0]];
    let fits = |now| {
        let held: Vec<_> = (0..5)
            .map_while(|_| router.at(now).select(&Request::none().allow(&only)).ok())
            .collect();
        held.len()
    };
    assert_eq!(fits(10 * SECOND), 1);
    router.set_max_in_flight(workers[0], Some(4)).unwrap();
    assert_eq!(fits(10 * SECOND), 1, "the host's limit does not end probation");
    serve(&router, workers[0], Outcome::Success, 10 * SECOND);
    serve(&router, workers[0], Outcome::Success, 10 * SECOND);
    assert_eq!(fits(10 * SECOND), 4);
}

#[test]
fn ejections_double_up_to_five_minutes_and_recovery_forgets_them() {
    let (router, workers) = pool(2);
    let mut now = 0;
    eject(&router, workers[0], now);
    for secs in [10, 20, 40, 80, 160, 300, 300] {
        assert!(!is_eligible(&router, workers[0], now + secs * SECOND - 1), "{secs} s");
        now += secs * SECOND;
        serve(&router, workers[0], FAILED, now);
    }
    now += 300 * SECOND;
    serve(&router, workers[0], Outcome::Success, now);
    serve(&router, workers[0], Outcome::Success, now);
    eject(&router, workers[0], now);
    assert!(!is_eligible(&router, workers[0], now + 10 * SECOND - 1));
    assert!(is_eligible(&router, workers[0], now + 10 * SECOND));
}

#[test]
fn a_failure_in_probation_ejects_at_once() {
    let (router, workers) = pool(2);
    eject(&router, workers[0], 0);
    serve(&router, workers[0], Outcome::Success, 10 * SECOND);
    serve(&router, workers[0], Outcome::Timeout, 10 * SECOND);
    assert!(!is_eligible(&router, workers[0], 29 * SECOND));
    // The success before the failure is forgotten.
    serve(&router, workers[0], Outcome::Success, 30 * SECOND);
    assert!(status(&router, workers[0], 30 * SECOND).on_probation);
    serve(&router, workers[0], Outcome::Success, 30 * SECOND);
    assert!(!status(&router, workers[0], 30 * SECOND).on_probation);
}

#[test]
fn half_of_a_role_is_ejected_at_most() {
    for (count, out) in [(1, 0), (2, 1), (3, 1), (4, 2), (9, 4)] {
        let (router, workers) = pool(count);
        // Other roles do not enlarge the half.
        add_many(&router, Role::Decode, 10);
        for _ in 0..5 {
            for &worker in &workers {
                if is_eligible(&router, worker, 0) {
                    serve(&router, worker, FAILED, 0);
                }
            }
        }
        let healthy = |id: &&WorkerId| is_eligible(&router, **id, 0);
        assert_eq!(workers.iter().filter(healthy).count(), count - out);
    }
}

#[test]
fn those_on_probation_count_as_ejected() {
    let (router, workers) = pool(3);
    eject(&router, workers[0], 0);
    let now = 10 * SECOND;
    assert!(is_eligible(&router, workers[0], now));
    (0..5).for_each(|_| serve(&router, workers[1], FAILED, now));
    assert!(is_eligible(&router, workers[1], now), "one of three is out already");
    serve(&router, workers[0], Outcome::Success, now);
    assert!(is_eligible(&router, workers[1], now), "the first one is on probation yet");
    serve(&router, workers[0], Outcome::Success, now);
    assert!(!is_eligible(&router, workers[1], now), "now there is room for its ejection");
}

#[test]
fn each_role_is_judged_by_itself() {
    let router = support::router("random");
    let prefill = add_many(&router, Role::Prefill, 2);
    add_many(&router, Role::Decode, 1);
    let request = Request::none().exclude(&prefill[1..]);
    for _ in 0..3 {
        let pair = router.at(0).select_pair(&request).unwrap();
        router.at(0).complete(pair, FAILED, Usage::default()).unwrap();
    }
    assert_eq!(router.at(0).select_pair(&request).unwrap_err().role(), Some(Role::Prefill));
}

#[test]
fn the_host_s_word_wins() {
    let (router, workers) = pool(2);
    // Host says healthy: no failures eject.
    router.set_health(workers[0], pointsman::HostHealth::Healthy).unwrap();
    (0..10).for_each(|_| serve(&router, workers[0], FAILED, 0));
    assert!(is_eligible(&router, workers[0], 0));
    // Lifting the word starts afresh.
    router.set_health(workers[0], pointsman::HostHealth::Unknown).unwrap();
    serve(&router, workers[0], FAILED, 0);
    assert!(is_eligible(&router, workers[0], 0));
    // Host says unhealthy: no time brings it back.
    router.set_health(workers[0], pointsman::HostHealth::Unhealthy).unwrap();
    assert!(!is_eligible(&router, workers[0], 1_000_000 * SECOND));
    router.set_health(workers[0], pointsman::HostHealth::Unknown).unwrap();
    assert!(is_eligible(&router, workers[0], 1_000_000 * SECOND));
    // Host overrules an ejection, and with it the probation that would follow.
    let now = 1_000_001 * SECOND;
    eject(&router, workers[0], now);
    router.set_health(workers[0], pointsman::HostHealth::Healthy).unwrap();
    let only = [workers[0]];
    let held: Vec<_> =
        (0..3).map(|_| router.at(now).select(&Request::none().allow(&only))).collect();
    assert!(held.iter().all(Result::is_ok));
    // Unlike outcomes, the host may take them all.
    workers
        .iter()
        .for_each(|&worker| router.set_health(worker, pointsman::HostHealth::Unhealthy).unwrap());
    assert!(router.at(now).select(&Request::none()).is_err());
}

#[test]
fn an_overloaded_worker_gets_a_tenth_until_its_pause_is_over() {
    let (router, workers) = pool(2);
    let weight = |now| status(&router, workers[0], now).effective_weight;
    serve(&router, workers[0], Outcome::Overloaded { retry_after: Duration::from_secs(5) }, SECOND);
    assert!((weight(SECOND) - 0.1).abs() < 1e-12);
    let request = Request::none();
    let share = |now| {
        let picks = (0..11_000).map(|_| router.at(now).select(&request).unwrap().worker());
        support::tally(&workers, picks)
    };
    support::assert_shares(&share(6 * SECOND - 1), &[0.1, 1.0]);
    support::assert_shares(&share(6 * SECOND), &[1.0, 1.0]);
    assert_eq!(weight(6 * SECOND), 1.0);
    // A shorter pause does not cut a longer one.
    serve(
        &router,
        workers[0],
        Outcome::Overloaded { retry_after: Duration::from_secs(50) },
        10 * SECOND,
    );
    serve(
        &router,
        workers[0],
        Outcome::Overloaded { retry_after: Duration::from_secs(1) },
        11 * SECOND,
    );
    assert!(weight(59 * SECOND) < 0.2);
    assert_eq!(weight(60 * SECOND), 1.0);
}

#[test]
fn no_pause_is_longer_than_an_ejection_can_be() {
    let mut config = support::config("random");
    config.health.max_ejection_secs = 20.0;
    let router = Router::new(config).unwrap();
    let workers = add_many(&router, Role::Regular, 2);
    let weight = |now| status(&router, workers[0], now).effective_weight;
    serve(&router, workers[0], Outcome::Overloaded { retry_after: Duration::MAX }, SECOND);
    assert!(weight(21 * SECOND - 1) < 0.2);
    assert_eq!(weight(21 * SECOND), 1.0);
}

#[test]
fn the_only_worker_serves_even_while_overloaded() {
    let (router, workers) = pool(1);
    serve(&router, workers[0], Outcome::Overloaded { retry_after: Duration::MAX }, 0);
    assert!(is_eligible(&router, workers[0], 0));
}

#[test]
fn a_new_worker_s_weight_ramps_up() {
    let mut config = support::config("random");
    config.slow_start_secs = 100.0;
    let router = Router::new(config).unwrap();
    let spec = pointsman::WorkerSpec::new("w").weight(4.0);
    let worker = router.at(1_000 * SECOND).add_worker(spec).unwrap();
    let weight = |secs: u64| status(&router, worker, (1_000 + secs) * SECOND).effective_weight;
    let expected =
        [(0, 0.4), (9, 0.4), (10, 0.8), (55, 2.4), (89, 3.6), (95, 4.0), (100, 4.0), (500, 4.0)];
    for (secs, expected) in expected {
        assert!((weight(secs) - expected).abs() < 1e-9, "{} after {secs} s", weight(secs));
    }
    assert_eq!(status(&router, worker, 1_500 * SECOND).weight, 4.0);
}

#[test]
fn requests_alone_step_the_ramp_up() {
    let mut config = support::config("random");
    config.slow_start_secs = 10.0;
    let router = Router::new(config).unwrap();
    let workers = add_many(&router, Role::Regular, 1);
    // Long since at its full weight.
    let now = 100 * SECOND;
    let late = router.at(now).add_worker(pointsman::WorkerSpec::new("late")).unwrap();
    let both = [workers[0], late];
    let share = |now| {
        let picks = (0..8_000).map(|_| router.at(now).select(&Request::none()).unwrap().worker());
        support::tally(&both, picks)
    };
    support::assert_shares(&share(now), &[1.0, 0.1]);
    support::assert_shares(&share(now + 5 * SECOND), &[1.0, 0.6]);
    support::assert_shares(&share(now + 10 * SECOND), &[1.0, 1.0]);
}

#[test]
fn a_recovered_worker_starts_slowly_again() {
    let mut config = support::config("random");
    config.slow_start_secs = 10.0;
    let router = Router::new(config).unwrap();
    let workers = add_many(&router, Role::Regular, 2);
    let now = 100 * SECOND;
    eject(&router, workers[0], now);
    let now = now + 10 * SECOND;
    serve(&router, workers[0], Outcome::Success, now);
    serve(&router, workers[0], Outcome::Success, now);
    assert!((status(&router, workers[0], now).effective_weight - 0.1).abs() < 1e-12);
    assert_eq!(status(&router, workers[0], now + 10 * SECOND).effective_weight, 1.0);
}

#[test]
fn passive_ejection_can_be_switched_off() {
    let mut config = support::config("random");
    config.health.failures = 0;
    let router = Router::new(config).unwrap();
    let workers = add_many(&router, Role::Regular, 2);
    (0..100).for_each(|_| serve(&router, workers[0], FAILED, 0));
    assert!(is_eligible(&router, workers[0], 0));
}

#[test]
fn draining_takes_no_new_work_and_requests_in_flight_go_on() {
    let (router, workers) = pool(2);
    let held = router.at(0).select(&Request::none().allow(&workers[..1])).unwrap();
    router.drain_worker(workers[0]).unwrap();
    assert!(!is_eligible(&router, workers[0], 0));
    held.first_token(None).unwrap();
    held.complete(Outcome::Success, Usage::default()).unwrap();
    router.resume_worker(workers[0]).unwrap();
    assert!(is_eligible(&router, workers[0], 0));
    support::assert_idle(&router);
}

#[test]
fn a_new_worker_does_not_inherit_the_health_of_its_slot() {
    let mut config = support::config("random");
    config.max_workers = 2;
    let router = Router::new(config).unwrap();
    let stays = add_many(&router, Role::Regular, 1)[0];
    for _ in 0..64 {
        let guest = add(&router, pointsman::WorkerSpec::new("guest"));
        assert!(status(&router, guest, 0).healthy);
        serve(&router, guest, FAILED, 0);
        serve(&router, guest, FAILED, 0);
        assert!(is_eligible(&router, guest, 0), "failures of an earlier worker were counted");
        serve(&router, guest, FAILED, 0);
        serve(&router, stays, Outcome::Success, 0);
        router.at(0).remove_worker(guest).unwrap();
    }
}

#[test]
fn an_outcome_told_while_the_pool_is_busy_is_not_forgotten() {
    // Inside the constructor of a policy the router's own lock is held, as it would be by another
    // thread; the third failure comes just then.
    let slot = std::sync::Arc::new(std::sync::Mutex::new(None::<(Router, WorkerId)>));
    let inside = std::sync::Arc::clone(&slot);
    let builder =
        Router::builder().config(support::config("random")).add_policy("slow", move |_| {
            if let Some((router, worker)) = &*inside.lock().unwrap() {
                serve(router, *worker, FAILED, 100 * SECOND);
            }
            Ok(std::sync::Arc::new(support::First))
        });
    let router = builder.unwrap().build().unwrap();
    let workers = add_many(&router, Role::Regular, 2);
    serve(&router, workers[0], FAILED, 0);
    serve(&router, workers[0], FAILED, 0);
    *slot.lock().unwrap() = Some((router.clone(), workers[0]));
    router.set_policy(&pointsman::PolicyConfig::named("slow")).unwrap();
    *slot.lock().unwrap() = None;
    assert!(!is_eligible(&router, workers[0], 110 * SECOND - 1), "from the failure's own time on");
    assert!(is_eligible(&router, workers[0], 110 * SECOND));
}

/// What this worker is believed to hold of the prompt.
fn held(router: &Router, worker: WorkerId, prompt: &str, now: u64) -> u32 {
    let only = [worker];
    let request = Request::text(prompt).allow(&only);
    let selection = router.at(now).select(&request).unwrap();
    let held = selection.matched_tokens();
    router.at(now).complete(selection, Outcome::Success, Usage::default()).unwrap();
    held
}

#[test]
fn a_worker_that_was_down_is_believed_to_hold_nothing() {
    let router = support::router("least_work");
    let workers = add_many(&router, Role::Regular, 4);
    let prompt = "what they all hold ".repeat(100);
    for &worker in &workers {
        held(&router, worker, &prompt, 0);
        assert!(held(&router, worker, &prompt, 0) > 400);
    }
    // By its outcomes, and by the host's word.
    eject(&router, workers[0], SECOND);
    router.set_health(workers[1], pointsman::HostHealth::Unhealthy).unwrap();
    router.set_health(workers[1], pointsman::HostHealth::Healthy).unwrap();
    let later = 12 * SECOND;
    router.at(later).tick();
    for &worker in &workers[..2] {
        assert_eq!(held(&router, worker, &prompt, later), 0);
        assert!(held(&router, worker, &prompt, later) > 400, "it learns anew");
    }
    // The others keep theirs, as does one that failed once.
    serve(&router, workers[2], FAILED, later);
    assert!(held(&router, workers[2], &prompt, later) > 400);
    assert!(held(&router, workers[3], &prompt, later) > 400);
}

/// A prefill worker's prompts are its successes, whether the host reports first tokens or only ends.
#[test]
fn a_prefill_worker_s_successes_count() {
    let serve = |router: &Router, prefill, first_token: bool, outcome, now: u64| {
        let pair = router.at(now).select_pair(&Request::none().exclude(&[prefill])).unwrap();
        if first_token {
            router.at(now).first_token(&pair, None).unwrap();
        }
        router.at(now).complete(pair, outcome, Usage::default()).unwrap();
    };
    for first_token in [true, false] {
        let router = support::router("random");
        let prefill = add_many(&router, Role::Prefill, 2);
        add_many(&router, Role::Decode, 2);
        let (other, worker) = (prefill[0], prefill[1]);
        let healthy = |now| status(&router, worker, now).healthy;
        for _ in 0..3 {
            (0..2).for_each(|_| serve(&router, other, false, FAILED, 0));
            serve(&router, other, first_token, Outcome::Success, 0);
        }
        assert!(healthy(0), "never three in a row");
        (0..3).for_each(|_| serve(&router, other, false, FAILED, 0));
        assert!(!healthy(0));
        assert!(status(&router, worker, 10 * SECOND).on_probation);
        (0..2).for_each(|_| serve(&router, other, first_token, Outcome::Success, 10 * SECOND));
        let after = status(&router, worker, 10 * SECOND);
        assert!(after.healthy && !after.on_probation, "two successes end probation");
    }
}
