//! Numbers at the end of their range.

use std::sync::Arc;

use pointsman::policy::round_robin::RoundRobinPolicy;
use pointsman::{LoadReport, Outcome, Request, Role, Usage, WorkerSpec};

use super::{SECOND, assert_recovered};
use crate::support::{POLICIES, add, add_many, assert_idle, config, router, router_of, status};

#[test]
fn reports_usages_and_lengths_of_the_largest_numbers() {
    let most = u32::MAX;
    let usage = Usage {
        prompt_tokens: Some(most),
        cached_tokens: Some(most),
        completion_tokens: Some(most),
    };
    for name in POLICIES {
        let router = router(name);
        let workers = add_many(&router, Role::Regular, 4);
        add_many(&router, Role::Prefill, 2);
        add_many(&router, Role::Decode, 2);
        for round in 0..200u64 {
            let report = LoadReport {
                running: most,
                waiting: most,
                kv_used_tokens: Some(u64::MAX),
                kv_total_tokens: Some(round % 2),
                at: SECOND.into(),
            };
            router.report_load(workers[round as usize % 4], report).unwrap();
            let request = Request::text("short").expected_output_tokens(most);
            let single = router.at(SECOND).select(&request).unwrap().into_ticket();
            let pair = router.at(SECOND).select_pair(&request).unwrap().into_ticket();
            for ticket in [single, pair] {
                router.at(SECOND).first_token(ticket, Some(most)).unwrap();
                router.at(SECOND).complete(ticket, Outcome::Success, usage).unwrap();
            }
        }
        assert_idle(&router);
        // The reports age, and count as missing from then on.
        assert_recovered(&router, &workers, 1_000 * SECOND);
    }
}

#[test]
fn the_widest_and_narrowest_weights() {
    for name in POLICIES {
        let router = router(name);
        let light = add(&router, WorkerSpec::new("light").weight(1e-6));
        let heavy = add(&router, WorkerSpec::new("heavy").weight(1e6));
        for _ in 0..5_000 {
            drop(router.at(SECOND).select(&Request::none()).unwrap());
        }
        let served = |worker| status(&router, worker).selections;
        assert!(served(heavy) > 4_990, "{name}: {} and {}", served(light), served(heavy));
        router.set_weight(heavy, 1.0).unwrap();
        router.set_weight(light, 1.0).unwrap();
        assert_recovered(&router, &[light, heavy], SECOND);
    }
}

#[test]
fn a_rotation_about_to_overflow() {
    for start in [u64::MAX, (1 << 63) - 3, (1 << 62) - 3] {
        let policy = Arc::new(RoundRobinPolicy::starting_at(start, Some(1)));
        let router = router_of(config("random"), policy);
        let workers = add_many(&router, Role::Regular, 7);
        assert_recovered(&router, &workers, SECOND);
    }
}
