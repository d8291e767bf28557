//! Round-robin: every run of a cycle serves each worker exactly its weight, evenly spread.

use std::sync::Arc;

use pointsman::{
    Reason, Request, Role, Router, WorkerId, WorkerSpec, policy::round_robin::RoundRobinPolicy,
};

use crate::support::{
    self, add, add_many, add_weighted, assert_shares, pick, router_of, shares, tally,
};

fn picks(router: &Router, count: usize) -> Vec<WorkerId> {
    (0..count).map(|_| pick(router, &Request::none()).unwrap()).collect()
}

/// Every window of a cycle's length holds each worker as often as its weight says.
#[track_caller]
fn assert_exact(picks: &[WorkerId], workers: &[WorkerId], weights: &[u64]) {
    let cycle = weights.iter().sum::<u64>() as usize;
    assert!(picks.len() > cycle);
    for window in picks.windows(cycle) {
        assert_eq!(tally(workers, window.iter().copied()), weights);
    }
}

#[test]
fn equal_workers_take_turns() {
    let router = support::router("round_robin");
    let workers = add_many(&router, Role::Regular, 5);
    assert_exact(&picks(&router, 37), &workers, &[1; 5]);
    assert_eq!(router.select(&Request::none()).unwrap().reason(), Reason::RoundRobin);
}

#[test]
fn any_run_of_a_cycle_is_exact_by_weight() {
    for (weights, parts) in [
        (vec![1.0, 2.0, 3.0], vec![1, 2, 3]),
        (vec![5.0, 1.0, 1.0], vec![5, 1, 1]),
        (vec![0.5, 1.5, 1.0], vec![1, 3, 2]),
        (vec![1.0, 2.5], vec![2, 5]),
        (vec![10.0, 20.0], vec![1, 2]),
        (vec![1.0; 3], vec![1; 3]),
    ] {
        let router = support::router("round_robin");
        let workers = add_weighted(&router, &weights);
        assert_exact(&picks(&router, 60), &workers, &parts);
    }
}

#[test]
fn turns_are_evenly_spread() {
    for weights in
        [vec![1.0, 2.0, 3.0], vec![7.0, 1.0, 1.0], vec![4.0, 3.0, 2.0, 1.0], vec![30.0, 10.0, 3.0]]
    {
        let router = support::router("round_robin");
        let workers = add_weighted(&router, &weights);
        let total: f64 = weights.iter().sum();
        let picks = picks(&router, 3 * total as usize);
        for length in 1..=picks.len() {
            let counts = tally(&workers, picks[..length].iter().copied());
            for (count, weight) in counts.iter().zip(&weights) {
                let due = length as f64 * weight / total;
                assert!(
                    (*count as f64 - due).abs() <= 1.0,
                    "{weights:?}: {counts:?} after {length}"
                );
            }
        }
    }
}

#[test]
fn weights_without_a_short_cycle_are_rounded_and_no_worker_starves() {
    let router = support::router("round_robin");
    let weights = [std::f64::consts::PI, std::f64::consts::E, 100.0, 0.01];
    let workers = add_weighted(&router, &weights);
    let observed = shares(&router, &workers, &Request::none(), 8_300);
    let total: f64 = weights.iter().sum();
    for (&count, weight) in observed.iter().zip(weights) {
        let due = 8_300.0 * weight / total;
        assert!((count as f64 - due).abs() <= due * 0.01 + 2.0, "{observed:?}");
        assert!(count > 0);
    }
}

#[test]
fn weights_as_far_apart_as_may_be_end_in_a_bounded_cycle() {
    let router = support::router("round_robin");
    let workers = add_weighted(&router, &[1e-6, 1.0, 1e6]);
    let observed = shares(&router, &workers, &Request::none(), 9_000);
    assert!(observed[2] > 8_900 && observed[0] >= 1 && observed[1] >= 1, "{observed:?}");
}

#[test]
fn threads_share_one_rotation() {
    let router = support::router("round_robin");
    let workers = add_weighted(&router, &[1.0, 2.0, 5.0]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| picks(&router, 1_000));
        }
    });
    let served: Vec<u64> =
        workers.iter().map(|&worker| support::status(&router, worker).selections).collect();
    assert_eq!(served, [1_000, 2_000, 5_000]);
}

#[test]
fn the_rotation_survives_the_end_of_its_counter() {
    for start in [(1 << 62) - 20, (1 << 62) - 1, 1 << 63, u64::MAX - 20, u64::MAX] {
        for weights in [vec![1.0; 8], vec![1.0, 2.0, 4.0], vec![1.0; 5], vec![1.0, 1.0, 4.0]] {
            let policy = RoundRobinPolicy::starting_at(start, Some(7));
            let router = router_of(support::config("random"), Arc::new(policy));
            let workers = add_weighted(&router, &weights);
            let parts: Vec<u64> = weights.iter().map(|&weight| weight as u64).collect();
            assert_exact(&picks(&router, 100), &workers, &parts);
        }
    }
}

#[test]
fn after_a_change_of_membership_every_cycle_is_exact_again() {
    let router = support::router("round_robin");
    let mut workers = add_many(&router, Role::Regular, 3);
    picks(&router, 7);
    workers.push(add(&router, WorkerSpec::new("http://late").weight(2.0)));
    assert_exact(&picks(&router, 31), &workers, &[1, 1, 1, 2]);
    router.remove_worker(workers.remove(1)).unwrap();
    assert_exact(&picks(&router, 31), &workers, &[1, 1, 2]);
    router.drain_worker(workers[2]).unwrap();
    assert_exact(&picks(&router, 31), &workers[..2], &[1, 1]);
    router.resume_worker(workers[2]).unwrap();
    router.set_weight(workers[0], 3.0).unwrap();
    assert_exact(&picks(&router, 31), &workers, &[3, 1, 2]);
}

#[test]
fn each_pool_has_a_counter_of_its_own() {
    let router = support::router("round_robin");
    let prefill = add_many(&router, Role::Prefill, 2);
    let decode = add_many(&router, Role::Decode, 4);
    let regular = add_many(&router, Role::Regular, 3);
    let mut chosen = (vec![], vec![], vec![]);
    for _ in 0..24 {
        let pair = router.select_pair(&Request::none()).unwrap();
        chosen.0.push(pair.prefill().worker());
        chosen.1.push(pair.decode().worker());
        chosen.2.extend(picks(&router, 1));
    }
    assert_exact(&chosen.0, &prefill, &[1; 2]);
    assert_exact(&chosen.1, &decode, &[1; 4]);
    assert_exact(&chosen.2, &regular, &[1; 3]);
}

#[test]
fn the_turn_of_an_excluded_worker_is_spread_over_all_others() {
    let router = support::router("round_robin");
    let workers = add_many(&router, Role::Regular, 6);
    let request = Request::none().exclude(&workers[1..3]);
    let observed = shares(&router, &workers, &request, 12_000);
    // A third of the requests is drawn at random; the rest is exact, so the fit is better than chance.
    assert_shares(&observed, &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
}
