//! Numbers that a fleet can drive to extremes.

use std::time::Duration;

use pointsman::prefix::{FORMAT_VERSION, Fingerprint, FingerprintHeader, Unit};
use pointsman::{
    Outcome, Request, Router, Selection, TicketError, Usage, WorkerSpec,
    policy::{LeastWorkConfig, Speed},
};
use proptest::prelude::*;

use super::{HOUR, SECOND, gauge, router, tokens};

#[test]
fn a_worker_that_never_answers_is_chosen_again_after_its_tickets_expire() {
    let router = router(2, LeastWorkConfig::default());
    let silent = router.workers()[0].info.id;
    // Everything that goes to the silent worker is left open.
    let mut left = Vec::new();
    for i in 1..=200u64 {
        let prompt = tokens(i as u32, 2000);
        let selection = router.at(i * SECOND).select(&Request::tokens(&prompt)).unwrap();
        if selection.worker() == silent {
            left.push(selection.into_ticket());
        } else {
            router
                .at(i * SECOND + 1)
                .complete(selection, Outcome::Success, Usage::default())
                .unwrap();
        }
    }
    assert!(!left.is_empty());
    router.at(3 * HOUR).tick();
    assert_eq!(router.metrics().tickets.open, 0);
    assert_eq!(gauge(&router, silent, "backlog_tokens"), 0.0);
    let served = (0..100u64)
        .filter(|&i| {
            let prompt = tokens(5000 + i as u32, 2000);
            let now = 3 * HOUR + i * SECOND;
            let selection = router.at(now).select(&Request::tokens(&prompt)).unwrap();
            let chosen = selection.worker();
            router.at(now + 1000).complete(selection, Outcome::Success, Usage::default()).unwrap();
            chosen == silent
        })
        .count();
    assert!((25..=75).contains(&served), "the silent worker got {served} of 100");
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
        turn: 0,
    };
    let fingerprint = Fingerprint::from_parts(header, &blocks).unwrap();
    router.at(at).select(&Request::fingerprint(fingerprint)).unwrap()
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
        capacity in prop_oneof![Just(1), Just(10_000), Just(u64::MAX)],
    ) {
        let mut rule = LeastWorkConfig::default();
        rule.speed = speed;
        rule.overhead_tokens = overhead;
        rule.reliability_step = steps_of_estimates;
        rule.work_step = steps_of_estimates;
        rule.rate_decay = (1.0 - steps_of_estimates).min(0.9999);
        let router = router(2, rule);
        router.add_worker(WorkerSpec::new("http://limited").kv_capacity_tokens(capacity)).unwrap();
        let key = router.fingerprint(&Request::text(""), &mut []).unwrap().header().key_id;
        // Each with whether its first token has come, and when it was made.
        let mut open: Vec<(Selection, bool, u64)> = Vec::new();
        let mut latest = 0;
        for step in steps {
            match step {
                Step::Select { prompt, total, at } => {
                    let selection = select(&router, key, prompt, total, at);
                    prop_assert!(selection.score().is_finite() && selection.score() >= 0.0);
                    prop_assert!(u64::from(selection.matched_tokens()) <= total);
                    open.push((selection, false, at));
                    latest = latest.max(at);
                }
                Step::FirstToken { nth, cached, at } if !open.is_empty() => {
                    let nth = nth % open.len();
                    let found = router.at(at).first_token(open[nth].0.ticket(), cached);
                    let twice = std::mem::replace(&mut open[nth].1, true);
                    let expected = if twice { Err(TicketError::FirstTokenTwice) } else { Ok(()) };
                    let may_expire = latest.saturating_sub(open[nth].2) >= HOUR;
                    let expired = may_expire && found == Err(TicketError::Closed);
                    prop_assert!(expired || found == expected, "{:?}, not {:?}", found, expected);
                }
                Step::Complete { nth, outcome, usage, at } if !open.is_empty() => {
                    let (selection, _, made) = open.swap_remove(nth % open.len());
                    let outcome = match outcome {
                        0 => Outcome::Success,
                        1 => Outcome::ClientCancelled,
                        2 => Outcome::ClientError,
                        3 => Outcome::Overloaded { retry_after: Duration::from_nanos(at) },
                        _ => Outcome::Expired,
                    };
                    let [prompt_tokens, cached_tokens, completion_tokens] = usage;
                    let usage = Usage { prompt_tokens, cached_tokens, completion_tokens };
                    let ended = router.at(at).complete(selection, outcome, usage);
                    let may_expire = latest.saturating_sub(made) >= HOUR;
                    prop_assert!(ended.is_ok() || may_expire && ended == Err(TicketError::Closed));
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
            prop_assert_eq!(row.policy_gauges[3], ("overcommitted_kv_tokens", 0.0));
        }
        let mut served = std::collections::HashSet::new();
        for i in 0..300u64 {
            let prompt = tokens(90_000 + i as u32, 100);
            let now = u64::MAX - 300 * SECOND + i * SECOND;
            let selection = router.at(now).select(&Request::tokens(&prompt)).unwrap();
            served.insert(selection.worker());
            router.at(now + 1).complete(selection, Outcome::Success, Usage::default()).unwrap();
        }
        prop_assert_eq!(served.len(), 3);
    }
}
