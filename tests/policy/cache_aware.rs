//! What both cache-aware rules have in common: which workers hold a prefix, which do not any more, and
//! which requests it concerns.

use std::collections::HashSet;

use pointsman::{FingerprintError, Request, Role, Router, RoutingError, WorkerSpec};

use crate::support::{self, add, add_many, assert_idle, pick};

const RULES: [&str; 2] = ["threshold", "least_work"];

fn prompt(number: usize) -> String {
    format!("{number:08}").repeat(1024)
}

/// Leading tokens of the prompt that the chosen worker is believed to hold.
fn matched(router: &Router, request: &Request<'_>) -> u32 {
    router.select(request).unwrap().matched_tokens()
}

#[test]
fn the_holder_is_found_unless_it_may_not_serve() {
    for rule in RULES {
        let router = support::router(rule);
        let workers = add_many(&router, Role::Regular, 4);
        let text = prompt(1);
        let request = Request::text(&text);
        let holder = pick(&router, &request).unwrap();
        assert_eq!(pick(&router, &request), Ok(holder), "{rule}");
        let excluded = [holder];
        let others = request.exclude(&excluded);
        assert_ne!(pick(&router, &others), Ok(holder));
        router.drain_worker(holder).unwrap();
        assert_ne!(pick(&router, &request), Ok(holder));
        router.resume_worker(holder).unwrap();
        let only = Request::text(&text).allow(&excluded);
        assert!(matched(&router, &only) > 1_500, "what it holds is not forgotten");
        router.set_health(holder, pointsman::HostHealth::Unhealthy).unwrap();
        assert_ne!(pick(&router, &request), Ok(holder));
        assert!(workers.contains(&holder));
    }
}

#[test]
fn a_removed_worker_s_prefixes_are_forgotten() {
    for rule in RULES {
        let mut config = support::config(rule);
        config.max_workers = 1;
        let router = Router::new(config).unwrap();
        let text = prompt(1);
        let mut slots = HashSet::new();
        // On until a slot is in use for the second time.
        loop {
            let worker = add(&router, WorkerSpec::new("w"));
            assert_eq!(matched(&router, &Request::text(&text)), 0, "{rule}: {worker:?}");
            assert!(matched(&router, &Request::text(&text)) > 1_500);
            router.remove_worker(worker).unwrap();
            if !slots.insert(worker.slot()) {
                break;
            }
        }
    }
}

#[test]
fn a_refused_or_dropped_request_leaves_a_prefix_only_if_it_was_dispatched() {
    for rule in RULES {
        let router = support::router(rule);
        let worker = add_many(&router, Role::Regular, 1)[0];
        router.set_max_in_flight(worker, Some(1)).unwrap();
        let (sent, refused) = (prompt(1), prompt(2));
        let held = router.select(&Request::text(&sent)).unwrap();
        assert!(router.select(&Request::text(&refused)).is_err());
        drop(held);
        assert_eq!(matched(&router, &Request::text(&refused)), 0);
        assert!(matched(&router, &Request::text(&sent)) > 0);
    }
}

#[test]
fn namespaces_do_not_share() {
    for rule in RULES {
        let router = support::router(rule);
        add_many(&router, Role::Regular, 1);
        let text = prompt(1);
        let (a, b) = (Request::text(&text).namespace("a"), Request::text(&text).namespace("b"));
        pick(&router, &a).unwrap();
        assert_eq!(matched(&router, &b), 0);
        assert_eq!(matched(&router, &Request::text(&text)), 0, "nor with no namespace");
        assert!(matched(&router, &a) > 1_500);
    }
}

#[test]
fn text_and_tokens_do_not_mix() {
    let router = support::router("least_work");
    add_many(&router, Role::Regular, 1);
    let tokens: Vec<u32> = (0..2048).collect();
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    pick(&router, &Request::tokens(&tokens)).unwrap();
    assert_eq!(matched(&router, &Request::bytes(&bytes)), 0);
    assert!(matched(&router, &Request::tokens(&tokens)) > 1_500);
}

#[test]
fn a_fingerprint_routes_like_its_prompt() {
    for rule in RULES {
        let router = support::router(rule);
        add_many(&router, Role::Regular, 8);
        for number in 0..20 {
            let text = prompt(number);
            let home = pick(&router, &Request::text(&text)).unwrap();
            let mut buffer = [0; 128];
            let fingerprint = router.fingerprint(&Request::text(&text), &mut buffer).unwrap();
            let selection = router.select(&Request::fingerprint(fingerprint)).unwrap();
            assert_eq!(selection.worker(), home, "{rule}");
            assert!(selection.matched_tokens() > 1_500);
        }
    }
}

#[test]
fn a_stranger_s_fingerprint_is_an_error_and_charges_nothing() {
    let (ours, theirs) = (support::router("least_work"), support::router("least_work"));
    Role::ALL.iter().for_each(|&role| drop(add_many(&ours, role, 1)));
    let text = prompt(1);
    let mut buffer = [0; 128];
    let foreign = theirs.fingerprint(&Request::text(&text), &mut buffer).unwrap();
    let request = Request::fingerprint(foreign);
    let wrong_key =
        |error| matches!(error, RoutingError::Fingerprint(FingerprintError::Key { .. }));
    assert!(wrong_key(ours.select(&request).unwrap_err()));
    assert!(wrong_key(ours.select_pair(&request).unwrap_err()));
    let mut buffer = [0; 128];
    let request = Request::text(&text).namespace("a");
    let own = ours.fingerprint(&request, &mut buffer).unwrap();
    assert!(ours.select(&Request::fingerprint(own).namespace("a")).is_ok());
    let error = ours.select(&Request::fingerprint(own).namespace("b")).unwrap_err();
    assert!(matches!(error, RoutingError::Fingerprint(FingerprintError::Namespace)));
    assert_idle(&ours);
}

#[test]
fn routers_with_one_key_understand_each_other() {
    let keyed = || {
        let mut config = support::config("least_work");
        config.tree.hash_key = Some("5a".repeat(32));
        let router = Router::new(config).unwrap();
        add_many(&router, Role::Regular, 1);
        router
    };
    let (ours, theirs) = (keyed(), keyed());
    let text = prompt(1);
    pick(&ours, &Request::text(&text)).unwrap();
    let mut buffer = [0; 128];
    let foreign = theirs.fingerprint(&Request::text(&text), &mut buffer).unwrap();
    assert!(matched(&ours, &Request::fingerprint(foreign)) > 1_500);
}

#[test]
fn prefill_workers_hold_prefixes_and_decode_workers_do_not() {
    for rule in RULES {
        let router = support::router(rule);
        add_many(&router, Role::Prefill, 4);
        add_many(&router, Role::Decode, 4);
        let text = prompt(1);
        let request = Request::text(&text);
        let first = router.select_pair(&request).unwrap();
        let home = first.prefill().worker();
        drop(first);
        for _ in 0..20 {
            let pair = router.select_pair(&request).unwrap();
            assert_eq!(pair.prefill().worker(), home, "{rule}");
            assert!(pair.prefill().matched_tokens() > 1_500);
            assert_eq!(pair.decode().matched_tokens(), 0);
        }
        assert_idle(&router);
    }
}

#[test]
fn a_routing_key_has_a_worker_and_keeps_it_while_others_come_and_go() {
    for rule in RULES {
        let router = support::router(rule);
        let workers = add_many(&router, Role::Regular, 8);
        let keys: Vec<String> = (0..100).map(|i| format!("session-{i}")).collect();
        let home = |key: &String| pick(&router, &Request::none().routing_key(key)).unwrap();
        let homes: Vec<_> = keys.iter().map(home).collect();
        assert_eq!(homes, keys.iter().map(home).collect::<Vec<_>>(), "{rule}");
        assert_eq!(homes.iter().collect::<HashSet<_>>().len(), 8, "keys are spread");
        router.drain_worker(workers[3]).unwrap();
        for (key, &before) in keys.iter().zip(&homes) {
            let moved = home(key) != before;
            assert_eq!(moved, before == workers[3], "only its own keys leave a worker");
        }
        router.resume_worker(workers[3]).unwrap();
        assert_eq!(homes, keys.iter().map(home).collect::<Vec<_>>());
    }
}

#[test]
fn a_routing_key_does_not_overload_its_worker() {
    let router = support::router("threshold");
    add_many(&router, Role::Regular, 4);
    let request = Request::none().routing_key("a session that asks for everything");
    let held: Vec<_> = (0..40).map(|_| router.select(&request).unwrap()).collect();
    let busiest = router.workers().iter().map(|status| status.in_flight).max();
    assert!(busiest <= Some(14), "{busiest:?} of 40 on one of four");
    drop(held);
}

#[test]
fn the_tree_s_budget_holds_whatever_is_sent() {
    for rule in RULES {
        let router = support::router(rule);
        add_many(&router, Role::Regular, 16);
        let budget = support::config(rule).tree.budget_bytes;
        for number in 0..400 {
            pick(&router, &Request::text(&prompt(number))).unwrap();
            assert!(router.metrics().tree.held_bytes <= budget as u64);
        }
        assert!(matched(&router, &Request::text(&prompt(399))) > 1_500, "the newest is there");
    }
}

/// From nothing to 10 MB: what is matched are whole blocks, of the first 4 MiB.
#[test]
fn prompts_of_any_length_are_routed_by_their_beginning() {
    let router = support::router("least_work");
    add_many(&router, Role::Regular, 3);
    for length in [0, 1, 127, 128, 8_191, 8_320, 131_072, 524_288, 10 << 20] {
        // A beginning of its own for every length, and then one byte over and over.
        let mut text = format!("{length:0128}").into_bytes();
        text.resize(length.max(128), b'x');
        text.truncate(length);
        let request = Request::bytes(&text);
        assert_eq!(matched(&router, &request), 0, "{length} bytes, first time");
        let again = router.select(&request).unwrap();
        let blocks = (length / 128).min(32_768) as u32;
        // Of a prompt that is held whole, the last token is computed anyway.
        let expected = (32 * blocks).min(again.total_tokens().saturating_sub(1));
        assert_eq!(again.matched_tokens(), expected, "{length} bytes, second time");
    }
}
