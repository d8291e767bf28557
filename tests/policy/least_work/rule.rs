//! What the rule prefers and what it counts.

use pointsman::{Outcome, Reason, Request, Router, Usage, policy::LeastWorkConfig};

use super::{HOUR, SECOND, gauge, router, tokens};

#[test]
fn a_held_prefix_wins_while_its_worker_is_idle() {
    let router = router(8, LeastWorkConfig::default());
    let prompt = tokens(1, 4096);
    let first = router.at(SECOND).select(&Request::tokens(&prompt)).unwrap();
    let holder = first.worker();
    assert_eq!(first.reason(), Reason::LeastWork);
    assert_eq!(first.matched_tokens(), 0);
    router.at(2 * SECOND).complete(first, Outcome::Success, Usage::default()).unwrap();
    for i in 0..50 {
        let mut longer = prompt.clone();
        longer.extend(tokens(100 + i, 64));
        let now = (3 + u64::from(i)) * SECOND;
        let next = router.at(now).select(&Request::tokens(&longer)).unwrap();
        assert_eq!(next.worker(), holder);
        assert_eq!(next.matched_tokens(), 4096);
        assert_eq!(next.total_tokens(), 4160);
        let runner_up = next.runner_up().unwrap();
        assert!(runner_up.score > next.score(), "{} <= {}", runner_up.score, next.score());
        router.at(now + SECOND / 2).complete(next, Outcome::Success, Usage::default()).unwrap();
    }
}

#[test]
fn a_long_queue_outweighs_a_short_match() {
    let router = router(2, LeastWorkConfig::default());
    let shared = tokens(1, 256);
    let first = router.at(SECOND).select(&Request::tokens(&shared)).unwrap();
    router.at(2 * SECOND).complete(first, Outcome::Success, Usage::default()).unwrap();
    // A heavy request that goes to the holder because it extends what it holds.
    let mut heavy = shared.clone();
    heavy.extend(tokens(2, 100_000));
    let heavy = router.at(3 * SECOND).select(&Request::tokens(&heavy)).unwrap();
    let mut light = shared.clone();
    light.extend(tokens(3, 64));
    let light = router.at(3 * SECOND + 1).select(&Request::tokens(&light)).unwrap();
    assert_ne!(light.worker(), heavy.worker(), "the light request waits for 100,000 tokens");
}

#[test]
fn work_is_queued_on_dispatch_and_gone_at_the_first_token_or_the_end() {
    let router = router(1, LeastWorkConfig::default());
    let prompt = tokens(1, 1000);
    let worker = router.workers()[0].info.id;
    let backlog = || gauge(&router, worker, "backlog_tokens");
    let open = |now| router.at(now).select(&Request::tokens(&prompt)).unwrap();
    let first = open(HOUR);
    assert!(backlog() > 0.0);
    router.at(HOUR + SECOND).first_token(first.ticket(), None).unwrap();
    assert_eq!(backlog(), 0.0);
    router.at(HOUR + 2 * SECOND).complete(first, Outcome::Success, Usage::default()).unwrap();
    assert_eq!(backlog(), 0.0);
    for outcome in [Outcome::ClientCancelled, Outcome::ClientError, Outcome::Success] {
        let request = open(2 * HOUR);
        assert!(backlog() > 0.0);
        router.at(2 * HOUR + SECOND).complete(request, outcome, Usage::default()).unwrap();
        assert_eq!(backlog(), 0.0, "after {outcome:?}");
    }
}

#[test]
fn reliability_follows_reported_cached_tokens() {
    let router = router(1, LeastWorkConfig::default());
    let prompt = tokens(1, 3200);
    let worker = router.workers()[0].info.id;
    for i in 1..=200 {
        let request = router.at(i * SECOND).select(&Request::tokens(&prompt)).unwrap();
        router.at(i * SECOND + SECOND / 2).first_token(request.ticket(), Some(0)).unwrap();
        router
            .at(i * SECOND + SECOND / 2)
            .complete(request, Outcome::Success, Usage::default())
            .unwrap();
    }
    let unreliable = gauge(&router, worker, "reliability_ratio");
    assert!((0.05..0.1).contains(&unreliable), "{unreliable}");
    for i in 201..=600 {
        let request = router.at(i * SECOND).select(&Request::tokens(&prompt)).unwrap();
        router.at(i * SECOND + 1000).first_token(request.ticket(), Some(3200)).unwrap();
        router.at(i * SECOND + 1000).complete(request, Outcome::Success, Usage::default()).unwrap();
    }
    let reliable = gauge(&router, worker, "reliability_ratio");
    assert!(reliable > 0.95, "{reliable}");
}

#[test]
fn cached_tokens_that_come_with_the_last_chunk_count_once() {
    let router = router(1, LeastWorkConfig::default());
    let prompt = tokens(1, 3200);
    let worker = router.workers()[0].info.id;
    let mut now = 0;
    let mut serve = |early: Option<u32>, late: Option<u32>| {
        now += SECOND;
        let request = router.at(now).select(&Request::tokens(&prompt)).unwrap();
        router.at(now + 1000).first_token(request.ticket(), early).unwrap();
        let usage = Usage { cached_tokens: late, ..Usage::default() };
        router.at(now + 2000).complete(request, Outcome::Success, usage).unwrap();
        gauge(&router, worker, "reliability_ratio")
    };
    assert_eq!(serve(None, Some(0)), 1.0, "nothing was predicted of the first prompt");
    let after_late = serve(None, Some(0));
    assert!((after_late - 0.97).abs() < 1e-9, "{after_late}");
    let after_both = serve(Some(0), Some(0));
    assert!((after_both - 0.97 * 0.97).abs() < 1e-9, "{after_both}");
}

#[test]
fn replicas_agree_on_the_worker_of_an_unknown_prompt() {
    let rule = || {
        let mut rule = LeastWorkConfig::default();
        rule.replicas = 4;
        rule
    };
    let replicas: Vec<Router> = (0..4).map(|_| router(8, rule())).collect();
    for i in 0..50 {
        let prompt = tokens(1000 + i, 4096);
        let chosen: Vec<Option<String>> = replicas
            .iter()
            .map(|replica| replica.at(SECOND).select(&Request::tokens(&prompt)).unwrap().url())
            .collect();
        assert!(chosen.iter().all(|url| *url == chosen[0]), "prompt {i}: {chosen:?}");
    }
}

#[test]
fn a_routing_key_finds_its_worker_while_nothing_matches() {
    let router = router(8, LeastWorkConfig::default());
    let mut homes = std::collections::HashSet::new();
    for key in 0..40u32 {
        let name = format!("session-{key}");
        let choose = |seed| {
            let prompt = tokens(seed, 64);
            let request = Request::tokens(&prompt).routing_key(&name);
            let selection = router.at(SECOND).select(&request).unwrap();
            assert_eq!(selection.reason(), Reason::RoutingKey);
            selection.worker()
        };
        let home = choose(10_000 + key);
        assert_eq!(choose(20_000 + key), home);
        homes.insert(home);
    }
    assert!(homes.len() >= 6, "40 keys share {} workers", homes.len());
}
