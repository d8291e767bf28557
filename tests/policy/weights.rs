//! Weights, whatever the policy: shares of idle fleets, of loaded ones, of workers that rise or pause, and
//! how far weights may lie apart.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use pointsman::policy::Random;
use pointsman::{Outcome, PoolError, Request, Router, Ticket, Usage, WorkerId, WorkerSpec};

use crate::support::{self, POLICIES, SECOND, add_weighted, assert_shares, tally};

const FLEETS: [&[f64]; 6] = [
    &[1.0, 0.9],
    &[1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
    &[3.0, 1.0],
    &[4.0, 2.0, 1.0],
    &[100.0, 1.0, 7.0, 7.0],
    &[0.5, 0.25, 0.25],
];

/// Where so many requests go of which each ends before the next, and no two share a beginning.
fn idle_shares(router: &Router, workers: &[WorkerId], count: u32, now: u64) -> Vec<u64> {
    let pick = |number| {
        let text =
            format!("{number} is how this prompt begins, which no worker has ever seen before");
        let (at, request) = (router.at(now), Request::text(&text));
        let selection = at.select(&request).expect("a worker");
        let worker = selection.worker();
        at.complete(selection, Outcome::Success, Usage::default()).expect("an open ticket");
        worker
    };
    tally(workers, (0..count).map(pick))
}

#[test]
fn an_idle_fleet_shares_by_weight() {
    for name in POLICIES {
        for weights in FLEETS {
            let router = support::router(name);
            let workers = add_weighted(&router, weights);
            assert_shares(&idle_shares(&router, &workers, 10_000, 0), weights);
        }
    }
}

/// A queue at every worker, which serves one request at a time at the speed of its weight; the shares of
/// requests that come at random and keep the fleet busy for this part of the time.
fn loaded_shares(router: &Router, workers: &[WorkerId], weights: &[f64], busy: f64) -> Vec<f64> {
    const REQUESTS: usize = 20_000;
    let random = Random::from_seed(11);
    let wait = |rate: f64| {
        let uniform = (random.next() >> 11) as f64 / (1u64 << 53) as f64;
        (-(1.0 - uniform).ln() / rate * SECOND as f64) as u64
    };
    let rate = busy * weights.iter().sum::<f64>();
    let mut queues: Vec<VecDeque<Ticket>> = vec![VecDeque::new(); weights.len()];
    let mut ends = BinaryHeap::<Reverse<(u64, usize)>>::new();
    let mut counts = vec![0_u32; weights.len()];
    let mut arrival = 0;
    for number in 0..REQUESTS {
        arrival += wait(rate);
        while let Some(Reverse((now, place))) =
            ends.peek().copied().filter(|end| end.0.0 <= arrival)
        {
            ends.pop();
            let ticket: Ticket = queues[place].pop_front().expect("a request that ends");
            router.at(now).complete(ticket, Outcome::Success, Usage::default()).expect("open");
            if !queues[place].is_empty() {
                ends.push(Reverse((now + wait(weights[place]), place)));
            }
        }
        let text =
            format!("{number} is how this prompt begins, which no worker has ever seen before");
        let selection = router.at(arrival).select(&Request::text(&text)).expect("a worker");
        let place = workers.iter().position(|&worker| worker == selection.worker()).expect("known");
        queues[place].push_back(selection.into_ticket());
        if queues[place].len() == 1 {
            ends.push(Reverse((arrival + wait(weights[place]), place)));
        }
        counts[place] += u32::from(number >= REQUESTS / 10);
    }
    let sum: u32 = counts.iter().sum();
    counts.iter().map(|&count| f64::from(count) / f64::from(sum)).collect()
}

/// How far the shares of the workers of the least weight may lie from their due, in points: rules that draw
/// by weight keep to it; one that looks for the least loaded of all finds it among many slow workers more often.
/// least_work has no row: it sends a request where it will be served first, whatever becomes of shares.
const BOUNDS: [(&str, f64); 4] =
    [("random", 1.0), ("round_robin", 0.1), ("power_of_two", 3.0), ("threshold", 6.0)];

#[test]
fn a_loaded_fleet_shares_by_weight() {
    for (name, bound) in BOUNDS {
        for weights in FLEETS {
            for busy in [0.2, 0.7, 0.95] {
                let router = support::router(name);
                let workers = add_weighted(&router, weights);
                let found = loaded_shares(&router, &workers, weights, busy);
                let sum: f64 = weights.iter().sum();
                let least = weights.iter().copied().fold(f64::INFINITY, f64::min);
                let of_least = found.iter().zip(weights).filter(|&(_, &weight)| weight == least);
                let off: f64 = of_least.map(|(share, weight)| share - weight / sum).sum();
                assert!((100.0 * off).abs() < bound, "{name} {weights:?} {busy}: {off:.3}");
            }
        }
    }
}

#[test]
fn a_paused_or_starting_worker_gets_the_share_of_its_weight_in_force() {
    for name in POLICIES {
        let mut config = support::config(name);
        config.slow_start_secs = 100.0;
        let router = Router::new(config).unwrap();
        let now = 1_000 * SECOND;
        let add = |number: u64, weight, at| {
            let spec = WorkerSpec::new(format!("http://w{number}")).weight(weight);
            router.at(at).add_worker(spec).unwrap()
        };
        let begun = now - 40 * SECOND;
        let workers = [add(0, 1.0, SECOND), add(1, 1.0, SECOND), add(2, 2.0, begun)];
        let paused = Outcome::Overloaded { retry_after: Duration::from_secs(20) };
        let selection = router.at(now).select(&Request::none().allow(&workers[..1])).unwrap();
        router.at(now).complete(selection, paused, Usage::default()).unwrap();
        router.at(now).tick();
        let listed = router.at(now).workers();
        let weights: Vec<f64> = listed.iter().map(|status| status.effective_weight).collect();
        assert!(
            weights[0] < 0.2 && weights[1] == 1.0 && (0.5..1.5).contains(&weights[2]),
            "{weights:?}"
        );
        assert_shares(&idle_shares(&router, &workers, 10_000, now), &weights);
    }
}

#[test]
fn weights_may_lie_twelve_orders_of_magnitude_apart() {
    for name in POLICIES {
        let router = support::router(name);
        let workers = add_weighted(&router, &[1e-6, 1e6, 1e6]);
        let observed = idle_shares(&router, &workers, 9_000, 0);
        // A cycle of 8,192 places has one for everybody.
        assert!(observed[0] <= if name == "round_robin" { 2 } else { 0 }, "{name}: {observed:?}");
        assert_shares(&observed[1..], &[1.0, 1.0]);
        for weight in [0.0, 1e-310, 9e-7, 1.1e6, f64::NAN, f64::INFINITY, -1.0] {
            let refused = router.add_worker(WorkerSpec::new("http://odd").weight(weight));
            let is_told =
                matches!(refused, Err(PoolError::BadWeight { .. } | PoolError::ZeroWeight));
            assert!(is_told, "{weight}: {refused:?}");
            assert!(router.set_weight(workers[0], weight).is_err(), "{weight}");
        }
        assert_eq!(router.workers().len(), 3, "nothing is left behind");
    }
}
