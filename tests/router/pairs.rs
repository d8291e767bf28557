//! Pairs: one decision, one ticket in two phases, nothing charged unless both exist.

use std::collections::BTreeSet;

use pointsman::{
    Outcome, PolicyConfig, Reason, Request, Role, Router, RoutingError, TicketError, Usage,
    WorkerId, WorkerSpec,
};

use crate::support::{self, POLICIES, add, add_many, assert_idle, in_flight, refusal, status};

fn worker(router: &Router, role: Role, name: &str, group: Option<&str>) -> WorkerId {
    let spec = WorkerSpec::new(name).role(role);
    add(
        router,
        match group {
            Some(group) => spec.group(group),
            None => spec,
        },
    )
}

#[test]
fn pairs_stay_within_their_group_and_loners_pair_with_any() {
    for name in POLICIES {
        let router = support::router(name);
        let groups = [Some("a"), Some("a"), Some("b"), None];
        let mut ids = Vec::new();
        for (i, group) in groups.into_iter().enumerate() {
            ids.push((worker(&router, Role::Prefill, &format!("p{i}"), group), group));
            ids.push((worker(&router, Role::Decode, &format!("d{i}"), group), group));
        }
        // One more, so that two rotations do not run in step.
        ids.push((worker(&router, Role::Decode, "d4", Some("a")), Some("a")));
        let group = |id: WorkerId| ids.iter().find(|&&(other, _)| other == id).unwrap().1;
        let mut seen = BTreeSet::new();
        let mut held = Vec::new();
        for i in 0..400 {
            let text = format!("{i}: a prompt that is new each time");
            let pair = router.select_pair(&Request::text(&text)).unwrap();
            let both = (group(pair.prefill().worker()), group(pair.decode().worker()));
            assert!(both.0 == both.1 || both.0.is_none() || both.1.is_none(), "{name}: {both:?}");
            seen.insert(both);
            held.push(pair);
        }
        // (a a), (b b), (- -), and a loner on either side of a and b.
        assert_eq!(seen.len(), 7, "{name} never formed some of the pairs: {seen:?}");
        drop(held);
        assert_idle(&router);
    }
}

#[test]
fn where_a_group_has_no_decode_worker_another_prefill_is_tried() {
    for name in POLICIES {
        let router = support::router(name);
        for i in 0..9 {
            worker(&router, Role::Prefill, &format!("alone{i}"), Some(&format!("g{i}")));
        }
        let prefill = worker(&router, Role::Prefill, "p", Some("pair"));
        let decode = worker(&router, Role::Decode, "d", Some("pair"));
        let draining = worker(&router, Role::Decode, "draining", Some("g3"));
        router.drain_worker(draining).unwrap();
        for _ in 0..50 {
            let pair = router.select_pair(&Request::none()).unwrap();
            assert_eq!((pair.prefill().worker(), pair.decode().worker()), (prefill, decode));
        }
        assert_idle(&router);
    }
}

#[test]
fn errors_name_the_role_and_nothing_is_charged() {
    for name in POLICIES {
        let router = support::router(name);
        let pair = || refusal(router.select_pair(&Request::none()));
        let no_worker = |role, workers, unhealthy, draining, excluded| {
            RoutingError::NoHealthyWorkers { role, workers, unhealthy, draining, excluded }
        };
        assert_eq!(pair(), no_worker(Role::Prefill, 0, 0, 0, 0), "{name}");
        let decode = worker(&router, Role::Decode, "d", Some("b"));
        assert_eq!(pair(), no_worker(Role::Prefill, 0, 0, 0, 0));
        let prefill = worker(&router, Role::Prefill, "p", Some("a"));
        assert_eq!(pair(), RoutingError::NoPair { prefill: 1, decode: 1 });
        router.drain_worker(decode).unwrap();
        assert_eq!(pair(), no_worker(Role::Decode, 1, 0, 1, 0));
        router.resume_worker(decode).unwrap();
        router.set_health(prefill, pointsman::HostHealth::Unhealthy).unwrap();
        assert_eq!(pair(), no_worker(Role::Prefill, 1, 1, 0, 0));
        router.set_health(prefill, pointsman::HostHealth::Healthy).unwrap();
        let friend = worker(&router, Role::Decode, "d2", Some("a"));
        let request = Request::none().exclude(std::slice::from_ref(&friend));
        let error = refusal(router.select_pair(&request));
        assert_eq!(error, RoutingError::NoPair { prefill: 1, decode: 1 });
        router.remove_worker(decode).unwrap();
        let error = refusal(router.select_pair(&request));
        assert_eq!(error, no_worker(Role::Decode, 1, 0, 0, 1));
        assert_eq!(error.role(), Some(Role::Decode));
        router.set_max_in_flight(friend, Some(1)).unwrap();
        let held = router.select_pair(&Request::none()).unwrap();
        assert_eq!(pair(), RoutingError::AllBusy { role: Role::Decode, busy: 1 });
        drop(held);
        router.set_max_in_flight(prefill, Some(1)).unwrap();
        let held = router.select_pair(&Request::none()).unwrap();
        router.set_max_in_flight(friend, None).unwrap();
        assert_eq!(pair(), RoutingError::AllBusy { role: Role::Prefill, busy: 1 });
        assert_eq!(in_flight(&router, prefill), 1, "a refused pair charges nothing");
        drop(held);
        assert_idle(&router);
    }
}

/// A router with one pair, and the ids of its workers.
fn one_pair(name: &str) -> (Router, WorkerId, WorkerId) {
    let router = support::router(name);
    let prefill = add_many(&router, Role::Prefill, 1)[0];
    let decode = add_many(&router, Role::Decode, 1)[0];
    (router, prefill, decode)
}

#[test]
fn prefill_is_released_at_first_token_and_decode_at_completion() {
    for name in POLICIES {
        let (router, prefill, decode) = one_pair(name);
        let loads = || (in_flight(&router, prefill), in_flight(&router, decode));
        let pair = router.select_pair(&Request::text("a prompt")).unwrap();
        assert_eq!(loads(), (1, 1));
        assert_eq!(router.metrics().tickets.open, 1, "one ticket for both");
        pair.first_token(None).unwrap();
        assert_eq!(loads(), (0, 1));
        assert_eq!(pair.first_token(None), Err(TicketError::FirstTokenTwice));
        assert_eq!(loads(), (0, 1), "released once");
        pair.complete(Outcome::Success, Usage::default()).unwrap();
        assert_eq!(loads(), (0, 0));
        assert_idle(&router);
    }
}

#[test]
fn without_a_first_token_the_end_releases_both() {
    for outcome in [Outcome::Success, Outcome::Timeout, Outcome::ClientCancelled] {
        let (router, ..) = one_pair("least_work");
        let pair = router.select_pair(&Request::none()).unwrap();
        let ticket = pair.into_ticket();
        router.complete(ticket, outcome, Usage::default()).unwrap();
        assert_eq!(router.first_token(ticket, None), Err(TicketError::Closed));
        assert_idle(&router);
        drop(router.select_pair(&Request::none()).unwrap());
        assert_idle(&router);
        let pair = router.select_pair(&Request::none()).unwrap();
        pair.first_token(Some(3)).unwrap();
        drop(pair);
        assert_idle(&router);
    }
}

#[test]
fn a_removed_prefill_worker_leaves_the_rest_of_the_pair_alone() {
    for name in POLICIES {
        let (router, prefill, decode) = one_pair(name);
        let pair = router.select_pair(&Request::none()).unwrap();
        router.remove_worker(prefill).unwrap();
        assert_eq!(in_flight(&router, decode), 1);
        assert_eq!(pair.prefill().info().map(|info| info.id), None);
        assert_eq!(pair.decode().url().as_deref(), Some("http://decode-0"));
        pair.complete(Outcome::Success, Usage::default()).unwrap();
        assert_idle(&router);

        let prefill = add(&router, WorkerSpec::new("p2").role(Role::Prefill));
        let pair = router.select_pair(&Request::none()).unwrap();
        router.remove_worker(decode).unwrap();
        assert_eq!(in_flight(&router, prefill), 0, "the request is lost with its decode worker");
        assert_eq!(pair.complete(Outcome::Success, Usage::default()), Err(TicketError::Closed));
        assert_idle(&router);
    }
}

#[test]
fn what_a_removed_prefill_worker_did_is_laid_at_nobody_s_door() {
    for name in POLICIES {
        for first_token in [false, true] {
            let (router, prefill, decode) = one_pair(name);
            let pair = router.select_pair(&Request::none()).unwrap();
            router.remove_worker(prefill).unwrap();
            let successor = support::take_over(&router, prefill, Role::Prefill);
            if first_token {
                pair.first_token(Some(3)).unwrap();
            }
            let usage = Usage { cached_tokens: Some(3), ..Usage::default() };
            // Without a first token a failure is the prefill worker's; after it, the decode worker's.
            pair.complete(Outcome::Timeout, usage).unwrap();
            let metrics = router.metrics();
            let of = |worker| metrics.workers.iter().find(|w| w.info.id == worker).unwrap();
            assert_eq!(of(successor).outcomes, [0; Outcome::COUNT], "{name}");
            assert_eq!(of(successor).reported_cached_tokens, 0, "{name}");
            let failures = of(decode).outcomes[Outcome::Timeout.index()];
            assert_eq!(failures, u64::from(first_token), "{name}");
            assert_idle(&router);
        }
    }
}

#[test]
fn decode_goes_where_the_least_tokens_are_resident() {
    for name in ["threshold", "least_work"] {
        let (router, _, first) = one_pair(name);
        let request = Request::none().expected_output_tokens(50_000);
        let long = router.select_pair(&request).unwrap();
        assert_eq!(long.decode().worker(), first);
        let second = add(&router, WorkerSpec::new("d2").role(Role::Decode));
        let short = Request::none().expected_output_tokens(100);
        let held: Vec<_> = (0..8).map(|_| router.select_pair(&short).unwrap()).collect();
        for pair in &held {
            assert_eq!(pair.decode().worker(), second, "{name}: eight short ones weigh less");
            assert_eq!(pair.decode().reason(), Reason::LeastResident);
        }
        drop(long);
        let pair = router.select_pair(&short).unwrap();
        assert_eq!(pair.decode().worker(), first, "{name}: given back at the end");
        drop((held, pair));
        assert_idle(&router);
    }
}

#[test]
fn each_role_may_have_a_policy_of_its_own() {
    let mut config = support::config("random");
    config.prefill_policy = Some(PolicyConfig::named("round_robin"));
    config.decode_policy = Some(PolicyConfig::named("power_of_two"));
    let router = Router::new(config).unwrap();
    let prefill = add_many(&router, Role::Prefill, 3);
    add_many(&router, Role::Decode, 3);
    add_many(&router, Role::Regular, 3);
    for i in 0..30 {
        let pair = router.select_pair(&Request::none()).unwrap();
        assert_eq!(pair.prefill().worker(), prefill[i % 3], "exact rotation");
        assert_eq!(pair.prefill().reason(), Reason::RoundRobin);
        assert_eq!(pair.decode().reason(), Reason::PowerOfTwo);
        assert!(pair.decode().runner_up().is_some());
    }
    assert_eq!(router.select(&Request::none()).unwrap().reason(), Reason::Random);
    let counts = router.metrics().decisions;
    let of = |role| counts.iter().find(|c| c.role == role).map(|c| (c.reason, c.count));
    assert_eq!(of(Role::Prefill), Some((Reason::RoundRobin, 30)));
    assert_eq!(of(Role::Decode), Some((Reason::PowerOfTwo, 30)));
    assert_eq!(of(Role::Regular), Some((Reason::Random, 1)));
}

#[test]
fn one_of_the_two_policies_can_be_left_out() {
    let mut config = support::config("random");
    config.decode_policy = Some(PolicyConfig::named("round_robin"));
    let router = Router::new(config).unwrap();
    add_many(&router, Role::Prefill, 2);
    add_many(&router, Role::Decode, 2);
    let pair = router.select_pair(&Request::none()).unwrap();
    assert_eq!(pair.prefill().reason(), Reason::Random);
    assert_eq!(pair.decode().reason(), Reason::RoundRobin);
}

#[test]
fn a_failure_is_the_prefill_worker_s_until_the_first_token() {
    // Two of each, as half of a role may be ejected.
    let blamed = |first_token: bool, blame: Option<Role>| {
        let router = support::router("round_robin");
        let prefill = add_many(&router, Role::Prefill, 2);
        let decode = add_many(&router, Role::Decode, 2);
        let allowed = [prefill[0], decode[0]];
        for _ in 0..3 {
            let pair = router.select_pair(&Request::none().allow(&allowed)).unwrap();
            if first_token {
                pair.first_token(None).unwrap();
            }
            match blame {
                Some(role) => pair.complete_by(role, Outcome::Timeout, Usage::default()),
                None => pair.complete(Outcome::Timeout, Usage::default()),
            }
            .unwrap();
        }
        (status(&router, prefill[0]).healthy, status(&router, decode[0]).healthy)
    };
    assert_eq!(blamed(false, None), (false, true));
    assert_eq!(blamed(true, None), (true, false));
    assert_eq!(blamed(false, Some(Role::Decode)), (true, false));
    assert_eq!(blamed(true, Some(Role::Prefill)), (false, true));
}

#[test]
fn a_pair_s_limits_hold_for_both() {
    let (router, prefill, decode) = one_pair("round_robin");
    router.set_max_in_flight(prefill, Some(2)).unwrap();
    router.set_max_in_flight(decode, Some(3)).unwrap();
    let mut held = vec![
        router.select_pair(&Request::none()).unwrap(),
        router.select_pair(&Request::none()).unwrap(),
    ];
    assert_eq!(refusal(router.select_pair(&Request::none())).role(), Some(Role::Prefill));
    held[0].first_token(None).unwrap();
    held.push(router.select_pair(&Request::none()).unwrap());
    held[1].first_token(None).unwrap();
    assert_eq!(refusal(router.select_pair(&Request::none())).role(), Some(Role::Decode));
    held.pop();
    assert!(router.select_pair(&Request::none()).is_ok());
}

#[test]
fn where_a_limit_alone_keeps_a_pair_the_pool_is_busy() {
    for name in POLICIES {
        let router = support::router(name);
        let pair = || refusal(router.select_pair(&Request::none()));
        let busy = |role, busy| RoutingError::AllBusy { role, busy };
        // A's only decode worker is draining while its prefill worker is free; B's prefill is full.
        let free = worker(&router, Role::Prefill, "pa", Some("a"));
        let draining = worker(&router, Role::Decode, "da", Some("a"));
        let limited = worker(&router, Role::Prefill, "pb", Some("b"));
        let decode = worker(&router, Role::Decode, "db", Some("b"));
        router.drain_worker(draining).unwrap();
        router.set_max_in_flight(limited, Some(1)).unwrap();
        let held = router.select_pair(&Request::none()).unwrap();
        assert_eq!(held.prefill().worker(), limited);
        assert_eq!(pair(), busy(Role::Prefill, 1), "{name}");
        // Without that pair's decode worker there is nothing to wait for.
        router.set_health(decode, pointsman::HostHealth::Unhealthy).unwrap();
        let expected = RoutingError::NoHealthyWorkers {
            role: Role::Decode,
            workers: 2,
            unhealthy: 1,
            draining: 1,
            excluded: 0,
        };
        assert_eq!(pair(), expected, "{name}");
        // With A's decode worker back, B's unhealthy: A is served, and once it is full, that is the limit.
        router.resume_worker(draining).unwrap();
        router.set_max_in_flight(draining, Some(1)).unwrap();
        let second = router.select_pair(&Request::none()).unwrap();
        assert_eq!(second.prefill().worker(), free);
        assert_eq!(pair(), busy(Role::Decode, 1), "{name}");
        // A full worker and one that waits for a partner, and they do not fit.
        let request = Request::none().exclude(std::slice::from_ref(&free));
        let error = refusal(router.select_pair(&request));
        assert_eq!(error, RoutingError::NoPair { prefill: 1, decode: 1 }, "{name}");
        drop((held, second));
        assert_idle(&router);
    }
}
