//! Power of two: two candidates, drawn by weight; the less loaded one.

use pointsman::{LoadReport, Reason, Request, Role, Router, Selection, WorkerId};

use crate::support::{self, SECOND, add_many, add_weighted, assert_shares, shares};

/// Keeps this many requests in flight on each worker.
fn hold(router: &Router, workers: &[WorkerId], loads: &[usize]) -> Vec<Selection> {
    let mut held = Vec::new();
    for (&worker, &load) in workers.iter().zip(loads) {
        let only = [worker];
        held.extend((0..load).map(|_| router.select(&Request::none().allow(&only)).unwrap()));
    }
    held
}

/// The chances that the law gives. Where weights are equal, over all pairs the fewer requests win, and equals
/// share. Where they differ, pairs are two places of a circle that the workers share by weight, at least as far
/// apart as the widest part of it; requests count relative to three and to what the weight gives the worker of
/// those of both.
fn law(loads: &[usize], weights: &[f64]) -> Vec<f64> {
    let all: f64 = weights.iter().sum();
    let widest = weights.iter().copied().fold(0.0, f64::max) / all;
    let least = if loads.len() == 2 { 0.5 } else { widest.min(0.5) };
    let at = |place: f64| {
        let mut rest = place.fract() * all;
        let found = weights.iter().position(|weight| {
            rest -= weight;
            rest < 0.0
        });
        found.unwrap_or(loads.len() - 1)
    };
    let beats = |i: usize, j: usize| {
        let per_weight = (loads[i] + loads[j]) as f64 / (weights[i] + weights[j]);
        let load = |k: usize| loads[k] as f64 / (3.0 + weights[k] * per_weight);
        match load(i).total_cmp(&load(j)) {
            _ if i == j => 0.5,
            std::cmp::Ordering::Less => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Greater => 0.0,
        }
    };
    if weights.iter().all(|&weight| weight == weights[0]) {
        let others = |i| (0..loads.len()).filter(move |&j| j != i);
        return (0..loads.len()).map(|i| others(i).map(|j| beats(i, j)).sum()).collect();
    }
    const STEPS: u32 = 400;
    let part = |step: u32| (f64::from(step) + 0.5) / f64::from(STEPS);
    let mut chances = vec![0.0; loads.len()];
    for (place, distance) in (0..STEPS).flat_map(|a| (0..STEPS).map(move |b| (part(a), part(b)))) {
        let (i, j) = (at(place), at(place + least + distance * (1.0 - 2.0 * least)));
        chances[i] += beats(i, j);
        chances[j] += beats(j, i);
    }
    chances
}

#[test]
fn chances_follow_the_law() {
    for (loads, weights) in [
        (vec![0; 5], vec![1.0; 5]),
        (vec![0, 1, 2, 3, 4], vec![1.0; 5]),
        (vec![0, 1, 1, 3, 5], vec![1.0, 1.0, 2.0, 4.0, 1.0]),
        (vec![3, 3, 0, 7], vec![2.0, 1.0, 0.25, 2.0]),
        (vec![9, 0], vec![1.0, 1.0]),
        (vec![2, 2], vec![1.0, 1.0]),
    ] {
        let router = support::router("power_of_two");
        let workers = add_weighted(&router, &weights);
        let held = hold(&router, &workers, &loads);
        let observed = shares(&router, &workers, &Request::none(), 10_000);
        assert_shares(&observed, &law(&loads, &weights));
        drop(held);
    }
}

#[test]
fn the_two_are_distinct_and_told() {
    let router = support::router("power_of_two");
    add_many(&router, Role::Regular, 3);
    for _ in 0..1_000 {
        let selection = router.select(&Request::none()).unwrap();
        let other = selection.runner_up().expect("a comparison");
        assert_ne!(other.worker, selection.worker());
        assert!(selection.score() <= other.score);
        assert_eq!(selection.reason(), Reason::PowerOfTwo);
    }
}

#[test]
fn the_only_worker_is_chosen_without_comparison() {
    let router = support::router("power_of_two");
    add_many(&router, Role::Regular, 1);
    let selection = router.select(&Request::none()).unwrap();
    assert_eq!((selection.reason(), selection.runner_up()), (Reason::OnlyCandidate, None));
}

#[test]
fn ties_are_broken_at_random_also_where_only_few_of_many_may_serve() {
    let router = support::router("power_of_two");
    let workers = add_many(&router, Role::Regular, 600);
    for few in [2, 3, 4] {
        let allowed = &workers[300..300 + few];
        let observed = shares(&router, allowed, &Request::none().allow(allowed), 3_000);
        assert_shares(&observed, &vec![1.0; few]);
    }
}

#[test]
fn both_pools_of_a_pair_follow_the_law() {
    let router = support::router("power_of_two");
    let prefill = add_many(&router, Role::Prefill, 3);
    let decode = add_many(&router, Role::Decode, 2);
    router.set_weight(decode[1], 2.0).unwrap();
    let mut picks = (vec![], vec![]);
    for _ in 0..6_000 {
        let pair = router.select_pair(&Request::none()).unwrap();
        picks.0.push(pair.prefill().worker());
        picks.1.push(pair.decode().worker());
    }
    assert_shares(&support::tally(&prefill, picks.0.into_iter()), &[1.0; 3]);
    assert_shares(&support::tally(&decode, picks.1.into_iter()), &[1.0, 2.0]);
}

fn report(router: &Router, worker: WorkerId, running: u32, waiting: u32, at: u64) {
    let report = LoadReport { running, waiting, at: at.into(), ..Default::default() };
    router.report_load(worker, report).unwrap();
}

/// Which of two workers is chosen at `now`, always.
#[track_caller]
fn always(router: &Router, now: u64) -> WorkerId {
    let pick = || router.at(now).select(&Request::none()).unwrap().worker();
    let first = pick();
    assert!((0..50).all(|_| pick() == first), "the choice is not settled");
    first
}

/// Two workers; the second has three requests in flight.
fn two() -> (Router, Vec<WorkerId>, Vec<Selection>) {
    let router = support::router("power_of_two");
    let workers = add_many(&router, Role::Regular, 2);
    let held = hold(&router, &workers, &[0, 3]);
    (router, workers, held)
}

#[test]
fn fresh_reports_of_both_replace_the_router_s_own_count() {
    let (router, workers, _held) = two();
    let now = 100 * SECOND;
    assert_eq!(always(&router, now), workers[0]);
    report(&router, workers[0], 5, 4, now);
    report(&router, workers[1], 8, 0, now);
    assert_eq!(always(&router, now), workers[1], "running and waiting count alike");
    report(&router, workers[1], 8, 2, now);
    assert_eq!(always(&router, now), workers[0]);
    // The weight counts for reported load, too: 10 / 1 against 11 / 2.
    router.set_weight(workers[1], 2.0).unwrap();
    assert_eq!(always(&router, now), workers[1]);
}

#[test]
fn a_missing_report_is_missing_not_zero() {
    let (router, workers, _held) = two();
    let now = 100 * SECOND;
    report(&router, workers[0], 1, 0, now);
    assert_eq!(always(&router, now), workers[0], "a missing report does not count as idle");
}

#[test]
fn a_stale_report_is_missing() {
    let (router, workers, _held) = two();
    let at = 100 * SECOND;
    report(&router, workers[0], 9, 0, at);
    report(&router, workers[1], 0, 0, at + SECOND);
    assert_eq!(always(&router, at + 2 * SECOND), workers[1], "as old as allowed");
    assert_eq!(
        always(&router, at + 2 * SECOND + 1),
        workers[0],
        "one of them stale: neither counts"
    );
    report(&router, workers[0], 9, 0, at + 2 * SECOND);
    assert_eq!(always(&router, at + 3 * SECOND), workers[1]);
}

#[test]
fn a_report_outlives_no_worker() {
    let mut config = support::config("power_of_two");
    config.max_workers = 2;
    let router = Router::new(config).unwrap();
    let stays = add_many(&router, Role::Regular, 1)[0];
    report(&router, stays, 5, 0, 0);
    // Slots are reused in turn, so the reporter's own comes back sooner or later.
    for round in 0..64 {
        let spec = pointsman::WorkerSpec::new("http://comes-and-goes");
        let guest = support::add(&router, spec);
        let held = hold(&router, &[guest], &[1]);
        assert_eq!(always(&router, 1), stays, "round {round}: an old report was believed");
        report(&router, guest, 0, 0, 0);
        assert_eq!(always(&router, 1), guest);
        drop(held);
        router.remove_worker(guest).unwrap();
    }
}

#[test]
fn reports_can_be_ignored() {
    let mut config = support::config("power_of_two");
    config.policy =
        serde_json::from_str(r#"{"power_of_two": {"max_report_age_secs": 0}}"#).unwrap();
    let router = Router::new(config).unwrap();
    let workers = add_many(&router, Role::Regular, 2);
    let _held = hold(&router, &workers, &[0, 3]);
    report(&router, workers[0], 9, 0, 0);
    report(&router, workers[1], 0, 0, 0);
    assert_eq!(always(&router, 0), workers[0]);
}

#[test]
fn a_report_without_a_time_is_from_now_and_one_from_another_clock_is_missing() {
    let router = support::router("power_of_two");
    let workers = support::add_many(&router, Role::Regular, 2);
    let report = |worker, running, at: u64| {
        let load = LoadReport { running, at: at.into(), ..LoadReport::default() };
        router.report_load(worker, load).unwrap();
    };
    report(workers[0], 500, 0);
    report(workers[1], 1, 0);
    for _ in 0..50 {
        assert_eq!(router.select(&Request::none()).unwrap().worker(), workers[1]);
    }
    // The time of day in nanoseconds.
    report(workers[0], 500, 1_790_000_000_000_000_000);
    report(workers[1], 1, 1_790_000_000_000_000_000);
    let mut chosen = std::collections::HashSet::new();
    for _ in 0..50 {
        chosen.insert(router.select(&Request::none()).unwrap().worker());
    }
    assert_eq!(chosen.len(), 2, "in-flight counters are equal, so ties decide");
}
