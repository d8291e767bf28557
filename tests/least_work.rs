//! The least-work rule through the router: what it prefers, and that no numbers drive it mad.

#![allow(clippy::unwrap_used)]

use pointsman::prefix::{FORMAT_VERSION, Fingerprint, FingerprintHeader, Unit};
use pointsman::{
    LeastWorkConfig, Outcome, PolicyConfig, Reason, Request, Router, RouterConfig, Selection,
    Speed, Usage, WorkerId, WorkerSpec,
};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;

fn router(workers: usize, rule: LeastWorkConfig) -> Router {
    let mut config = RouterConfig::default();
    config.policy = PolicyConfig::least_work(rule);
    config.seed = Some(7);
    config.tree.budget_bytes = 1 << 20;
    config.tree.hash_key = Some("07".repeat(32));
    let router = Router::new(config).unwrap();
    for i in 0..workers {
        router.add_worker(WorkerSpec::new(format!("http://worker-{i}"))).unwrap();
    }
    router
}

fn tokens(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| i.wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503)).collect()
}

fn gauge(router: &Router, worker: WorkerId, name: &str) -> f64 {
    let metrics = router.metrics();
    let row = metrics.workers.iter().find(|row| row.info.id == worker).unwrap();
    row.policy_gauges.iter().find(|(other, _)| *other == name).unwrap().1
}

#[test]
fn a_held_prefix_wins_while_its_worker_is_idle() {
    let router = router(8, LeastWorkConfig::default());
    let prompt = tokens(1, 4096);
    let first = router.select_at(&Request::tokens(&prompt), SECOND).unwrap();
    let holder = first.worker();
    assert_eq!(first.reason(), Reason::LeastWork);
    assert_eq!(first.matched_tokens(), 0);
    first.complete_at(Outcome::Success, Usage::default(), 2 * SECOND).unwrap();
    for i in 0..50 {
        let mut longer = prompt.clone();
        longer.extend(tokens(100 + i, 64));
        let now = (3 + u64::from(i)) * SECOND;
        let next = router.select_at(&Request::tokens(&longer), now).unwrap();
        assert_eq!(next.worker(), holder);
        assert_eq!(next.matched_tokens(), 4096);
        assert_eq!(next.total_tokens(), 4160);
        let runner_up = next.runner_up().unwrap();
        assert!(runner_up.score > next.score(), "{} <= {}", runner_up.score, next.score());
        next.complete_at(Outcome::Success, Usage::default(), now + SECOND / 2).unwrap();
    }
}

#[test]
fn a_long_queue_outweighs_a_short_match() {
    let router = router(2, LeastWorkConfig::default());
    let shared = tokens(1, 256);
    let first = router.select_at(&Request::tokens(&shared), SECOND).unwrap();
    first.complete_at(Outcome::Success, Usage::default(), 2 * SECOND).unwrap();
    // A heavy request that goes to the holder because it extends what it holds.
    let mut heavy = shared.clone();
    heavy.extend(tokens(2, 100_000));
    let heavy = router.select_at(&Request::tokens(&heavy), 3 * SECOND).unwrap();
    let mut light = shared.clone();
    light.extend(tokens(3, 64));
    let light = router.select_at(&Request::tokens(&light), 3 * SECOND + 1).unwrap();
    assert_ne!(light.worker(), heavy.worker(), "the light request waits for 100,000 tokens");
}

#[test]
fn work_is_queued_on_dispatch_and_gone_at_the_first_token_or_the_end() {
    let router = router(1, LeastWorkConfig::default());
    let prompt = tokens(1, 1000);
    let worker = router.workers()[0].info.id;
    let backlog = || gauge(&router, worker, "backlog_tokens");
    let open = |now| router.select_at(&Request::tokens(&prompt), now).unwrap();
    let first = open(HOUR);
    assert!(backlog() > 0.0);
    router.first_token_at(first.ticket(), None, HOUR + SECOND).unwrap();
    assert_eq!(backlog(), 0.0);
    first.complete_at(Outcome::Success, Usage::default(), HOUR + 2 * SECOND).unwrap();
    assert_eq!(backlog(), 0.0);
    for outcome in [Outcome::ClientCancelled, Outcome::ClientError, Outcome::Success] {
        let request = open(2 * HOUR);
        assert!(backlog() > 0.0);
        request.complete_at(outcome, Usage::default(), 2 * HOUR + SECOND).unwrap();
        assert_eq!(backlog(), 0.0, "after {outcome:?}");
    }
}

#[test]
fn reliability_follows_reported_cached_tokens() {
    let router = router(1, LeastWorkConfig::default());
    let prompt = tokens(1, 3200);
    let worker = router.workers()[0].info.id;
    for i in 1..=200 {
        let request = router.select_at(&Request::tokens(&prompt), i * SECOND).unwrap();
        router.first_token_at(request.ticket(), Some(0), i * SECOND + SECOND / 2).unwrap();
        request.complete_at(Outcome::Success, Usage::default(), i * SECOND + SECOND / 2).unwrap();
    }
    let unreliable = gauge(&router, worker, "reliability_ratio");
    assert!((0.05..0.1).contains(&unreliable), "{unreliable}");
    for i in 201..=600 {
        let request = router.select_at(&Request::tokens(&prompt), i * SECOND).unwrap();
        router.first_token_at(request.ticket(), Some(3200), i * SECOND + 1000).unwrap();
        request.complete_at(Outcome::Success, Usage::default(), i * SECOND + 1000).unwrap();
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
        let request = router.select_at(&Request::tokens(&prompt), now).unwrap();
        router.first_token_at(request.ticket(), early, now + 1000).unwrap();
        let usage = Usage { cached_tokens: late, ..Usage::default() };
        request.complete_at(Outcome::Success, usage, now + 2000).unwrap();
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
        let chosen: Vec<String> = replicas
            .iter()
            .map(|replica| replica.select_at(&Request::tokens(&prompt), SECOND).unwrap().url())
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
            let selection = router.select_at(&request, SECOND).unwrap();
            assert_eq!(selection.reason(), Reason::RoutingKey);
            selection.worker()
        };
        let home = choose(10_000 + key);
        assert_eq!(choose(20_000 + key), home);
        homes.insert(home);
    }
    assert!(homes.len() >= 6, "40 keys share {} workers", homes.len());
}

#[test]
fn a_worker_that_never_answers_is_chosen_again_after_its_tickets_expire() {
    let router = router(2, LeastWorkConfig::default());
    let silent = router.workers()[0].info.id;
    // Everything that goes to the silent worker is left open.
    let mut left = Vec::new();
    for i in 1..=200u64 {
        let prompt = tokens(i as u32, 2000);
        let selection = router.select_at(&Request::tokens(&prompt), i * SECOND).unwrap();
        if selection.worker() == silent {
            left.push(selection.into_ticket());
        } else {
            selection.complete_at(Outcome::Success, Usage::default(), i * SECOND + 1).unwrap();
        }
    }
    assert!(!left.is_empty());
    router.tick(3 * HOUR);
    assert_eq!(router.metrics().tickets.open, 0);
    assert_eq!(gauge(&router, silent, "backlog_tokens"), 0.0);
    let served = (0..100u64)
        .filter(|&i| {
            let prompt = tokens(5000 + i as u32, 2000);
            let now = 3 * HOUR + i * SECOND;
            let selection = router.select_at(&Request::tokens(&prompt), now).unwrap();
            let chosen = selection.worker();
            selection.complete_at(Outcome::Success, Usage::default(), now + 1000).unwrap();
            chosen == silent
        })
        .count();
    assert!((25..=75).contains(&served), "the silent worker got {served} of 100");
}

#[test]
fn knobs_out_of_range_are_refused_by_name() {
    for (knob, value) in [
        ("max_kappa", "-1"),
        ("busy_step", "2"),
        ("rate_decay", "1.5"),
        ("initial_rate", "0"),
        ("head_cap", "-0.1"),
        ("reliability_step", "7"),
        ("replicas", "0"),
        ("replica_discount", "1.01"),
        ("scored_workers", "1"),
    ] {
        let document = format!(
            r#"{{"policy": {{"cache_aware": {{"rule": {{"least_work": {{"{knob}": {value}}}}}}}}}}}"#
        );
        let error = RouterConfig::from_json(&document).unwrap_err().to_string();
        assert!(error.contains(knob) && error.contains("between"), "{knob}: {error}");
    }
}

/// What a fleet may do.
#[derive(Clone, Debug)]
enum Step {
    Select { prompt: u8, total: u64, at: u64 },
    FirstToken { nth: usize, cached: Option<u32>, at: u64 },
    Complete { nth: usize, outcome: u8, usage: [Option<u32>; 3], at: u64 },
}

/// Times that jump: back to zero, by hours, by nanoseconds.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..10u64, 0..SECOND, 0..1000 * HOUR, Just(u64::MAX)]
}

fn step() -> impl Strategy<Value = Step> {
    let total = prop_oneof![0..3u64, 0..5000u64, Just(10_000_000), Just(u64::from(u32::MAX) + 5)];
    let count = || proptest::option::of(prop_oneof![0..3u32, 0..100_000u32, Just(u32::MAX)]);
    prop_oneof![
        3 => (0..4u8, total, time()).prop_map(|(prompt, total, at)| Step::Select { prompt, total, at }),
        2 => (0..40usize, count(), time())
            .prop_map(|(nth, cached, at)| Step::FirstToken { nth, cached, at }),
        2 => (0..40usize, 0..6u8, [count(), count(), count()], time())
            .prop_map(|(nth, outcome, usage, at)| Step::Complete { nth, outcome, usage, at }),
    ]
}

fn speed() -> impl Strategy<Value = Speed> {
    prop_oneof![Just(Speed::Weight), Just(Speed::Measured), Just(Speed::Equal)]
}

fn select(router: &Router, key: u32, prompt: u8, total: u64, at: u64) -> Selection {
    let blocks: Vec<u64> =
        (1..=(total / 32).min(20)).map(|i| (i << 8) | (u64::from(prompt) + 1)).collect();
    let header = FingerprintHeader {
        version: FORMAT_VERSION,
        unit: Unit::Tokens,
        block_bytes: 128,
        key_id: key,
        namespace: 0,
        total,
        blocks: blocks.len() as u32,
    };
    let fingerprint = Fingerprint::from_parts(header, &blocks).unwrap();
    router.select_at(&Request::fingerprint(fingerprint), at).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the fleet does: no score that is not a number, no negative backlog, reliability within
    /// its bounds; and when all is over, no backlog and no worker that is never chosen again.
    #[test]
    fn no_numbers_drive_the_rule_mad(
        steps in proptest::collection::vec(step(), 1..60),
        speed in speed(),
        overhead in prop_oneof![Just(0u32), Just(200u32)],
        steps_of_estimates in prop_oneof![Just(0.0), Just(1.0), Just(0.03)],
    ) {
        let mut rule = LeastWorkConfig::default();
        rule.speed = speed;
        rule.overhead_tokens = overhead;
        rule.reliability_step = steps_of_estimates;
        rule.work_step = steps_of_estimates;
        rule.rate_decay = (1.0 - steps_of_estimates).min(0.9999);
        let router = router(3, rule);
        let key = router.fingerprint(&Request::text(""), &mut []).unwrap().header().key_id;
        let mut open: Vec<Selection> = Vec::new();
        for step in steps {
            match step {
                Step::Select { prompt, total, at } => {
                    let selection = select(&router, key, prompt, total, at);
                    prop_assert!(selection.score().is_finite() && selection.score() >= 0.0);
                    prop_assert!(u64::from(selection.matched_tokens()) <= total);
                    open.push(selection);
                }
                Step::FirstToken { nth, cached, at } if !open.is_empty() => {
                    let nth = nth % open.len();
                    let _ = router.first_token_at(open[nth].ticket(), cached, at);
                }
                Step::Complete { nth, outcome, usage, at } if !open.is_empty() => {
                    let selection = open.swap_remove(nth % open.len());
                    let outcome = match outcome {
                        0 => Outcome::Success,
                        1 => Outcome::ClientCancelled,
                        2 => Outcome::ClientError,
                        3 => Outcome::Overloaded { retry_after: at },
                        _ => Outcome::Expired,
                    };
                    let [prompt_tokens, cached_tokens, completion_tokens] = usage;
                    let usage = Usage { prompt_tokens, cached_tokens, completion_tokens };
                    selection.complete_at(outcome, usage, at).unwrap();
                }
                Step::FirstToken { .. } | Step::Complete { .. } => {}
            }
            for row in router.metrics().workers {
                for (name, value) in row.policy_gauges {
                    prop_assert!(value.is_finite() && value >= 0.0, "{name} = {value}");
                }
            }
        }
        drop(open);
        for row in router.metrics().workers {
            prop_assert_eq!(row.in_flight, 0);
            prop_assert_eq!(row.resident_tokens, 0);
            prop_assert_eq!(row.policy_gauges[0], ("backlog_tokens", 0.0));
            prop_assert!((0.0..=1.0).contains(&row.policy_gauges[1].1));
        }
        let mut served = std::collections::HashSet::new();
        for i in 0..300u64 {
            let prompt = tokens(90_000 + i as u32, 100);
            let now = u64::MAX - 300 * SECOND + i * SECOND;
            let selection = router.select_at(&Request::tokens(&prompt), now).unwrap();
            served.insert(selection.worker());
            selection.complete_at(Outcome::Success, Usage::default(), now + 1).unwrap();
        }
        prop_assert_eq!(served.len(), 3);
    }
}
