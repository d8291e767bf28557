//! The threshold rule: the longest match while loads are balanced, the least loaded otherwise.

use pointsman::{
    PolicyConfig, Reason, Request, Role, Router, Selection, WorkerId, policy::ThresholdConfig,
};

use crate::support::{self, add_many, assert_shares, pick, shares};

/// 64 blocks of text, of which nothing is shared with another number's.
fn prompt(number: usize) -> String {
    format!("{number:08}").repeat(1024)
}

fn router(workers: usize, config: ThresholdConfig) -> (Router, Vec<WorkerId>) {
    let mut router_config = support::config("random");
    router_config.policy = PolicyConfig::threshold(config);
    let router = Router::new(router_config).unwrap();
    let workers = add_many(&router, Role::Regular, workers);
    (router, workers)
}

fn tight() -> ThresholdConfig {
    let mut config = ThresholdConfig::default();
    config.balance_abs_threshold = 2;
    config
}

/// Holds this many requests on each worker, none of which leaves a prefix.
fn hold(router: &Router, workers: &[WorkerId], loads: &[usize]) -> Vec<Selection> {
    let mut held = Vec::new();
    for (worker, &load) in workers.iter().zip(loads) {
        let request = Request::none().allow(std::slice::from_ref(worker));
        held.extend((0..load).map(|_| router.select(&request).unwrap()));
    }
    held
}

#[test]
fn the_defaults_are_the_gateway_s() {
    let config = ThresholdConfig::default();
    assert_eq!(config.cache_threshold, 0.3);
    assert_eq!(config.balance_abs_threshold, 64);
    assert_eq!(config.balance_rel_threshold, 1.5);
}

#[test]
fn a_prompt_goes_back_to_its_holder() {
    let (router, _) = router(8, ThresholdConfig::default());
    let homes: Vec<WorkerId> =
        (0..40).map(|i| pick(&router, &Request::text(&prompt(i))).unwrap()).collect();
    for (i, &home) in homes.iter().enumerate() {
        let text = prompt(i);
        let selection = router.select(&Request::text(&text)).unwrap();
        assert_eq!((selection.worker(), selection.reason()), (home, Reason::PrefixMatch));
        assert_eq!(selection.matched_tokens(), selection.total_tokens());
    }
}

#[test]
fn text_and_tokens_obey_the_same_rule() {
    let (router, _) = router(8, ThresholdConfig::default());
    let tokens: Vec<u32> = (0..4096).collect();
    let home = pick(&router, &Request::tokens(&tokens)).unwrap();
    for _ in 0..20 {
        let selection = router.select(&Request::tokens(&tokens)).unwrap();
        assert_eq!((selection.worker(), selection.matched_tokens()), (home, 4096));
    }
    let other: Vec<u32> = (1..4097).collect();
    assert_eq!(router.select(&Request::tokens(&other)).unwrap().reason(), Reason::LeastLoaded);
}

#[test]
fn a_match_must_exceed_the_threshold() {
    let (router, workers) = router(2, ThresholdConfig::default());
    // 64 blocks of 32 tokens; the match grows with the share of the prompt that is known.
    let known: Vec<u32> = (0..2048).collect();
    let home = pick(&router, &Request::tokens(&known)).unwrap();
    let _load = hold(&router, &[home], &[1]);
    let of = |matching: usize| {
        let mut tokens = known.clone();
        (matching..2048).for_each(|i| tokens[i] += 1_000_000 + matching as u32);
        let selection = router.select(&Request::tokens(&tokens)).unwrap();
        (selection.worker() == home, selection.reason())
    };
    // 0.3 * 2048 = 614.4 tokens; 19 blocks are 608, 20 are 640.
    assert_eq!(of(19 * 32), (false, Reason::LeastLoaded));
    assert_eq!(of(20 * 32), (true, Reason::PrefixMatch));
    assert_eq!(workers.len(), 2);
}

#[test]
fn out_of_balance_the_least_loaded_wins_over_the_holder() {
    // (loads, whether that is out of balance), by max - min > 2 and max > 1.5 * min.
    for (loads, imbalanced) in [
        ([0, 0], false),
        ([2, 0], false),
        ([3, 0], true),
        ([9, 6], false),
        ([10, 6], true),
        ([20, 17], false),
    ] {
        let (router, workers) = router(2, tight());
        let text = prompt(1);
        let request = Request::text(&text);
        let only = [workers[0]];
        pick(&router, &request.allow(&only)).unwrap();
        let _held = hold(&router, &workers, &loads);
        let selection = router.select(&request).unwrap();
        let expected = if imbalanced {
            (workers[1], Reason::Imbalanced)
        } else {
            (workers[0], Reason::PrefixMatch)
        };
        assert_eq!((selection.worker(), selection.reason()), expected, "{loads:?}");
    }
}

#[test]
fn the_ineligible_are_neither_minimum_nor_maximum() {
    let (router, workers) = router(5, tight());
    let text = prompt(1);
    let request = Request::text(&text);
    pick(&router, &request.allow(&workers[..1])).unwrap();
    // Idle, busy, and both not to be looked at.
    let _held = hold(&router, &workers, &[6, 6, 0, 40, 0]);
    router.drain_worker(workers[2]).unwrap();
    router.set_health(workers[3], pointsman::HostHealth::Unhealthy).unwrap();
    let selection = router.select(&request.exclude(&workers[4..])).unwrap();
    assert_eq!((selection.worker(), selection.reason()), (workers[0], Reason::PrefixMatch));
    let selection = router.select(&request).unwrap();
    assert_eq!((selection.worker(), selection.reason()), (workers[4], Reason::Imbalanced));
}

#[test]
fn equals_share_what_no_worker_holds() {
    let (router, workers) = router(6, ThresholdConfig::default());
    let held = hold(&router, &workers, &[0, 1, 0, 0, 2, 0]);
    let observed = shares(&router, &workers, &Request::none(), 8_000);
    assert_shares(&observed, &[1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
    drop(held);
    router.set_weight(workers[4], 2.0).unwrap();
    let observed = shares(&router, &workers, &Request::none(), 8_000);
    assert_shares(&observed, &[1.0, 1.0, 1.0, 1.0, 2.0, 1.0]);
}

#[test]
fn holders_of_equal_matches_share_them() {
    let (router, workers) = router(4, ThresholdConfig::default());
    let text = prompt(1);
    let request = Request::text(&text);
    for holder in [1, 3] {
        pick(&router, &request.allow(&workers[holder..=holder])).unwrap();
    }
    let observed = shares(&router, &workers, &request, 4_000);
    assert_shares(&observed, &[0.0, 1.0, 0.0, 1.0]);
}
