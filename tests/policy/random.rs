//! Random: chances proportional to weights, draws independent of each other.

use pointsman::{Reason, Request, Role, Router};

use crate::support::{self, add_many, add_weighted, assert_shares, shares, tally};

#[test]
fn equal_workers_get_equal_shares() {
    let router = support::router("random");
    let workers = add_many(&router, Role::Regular, 8);
    assert_shares(&shares(&router, &workers, &Request::none(), 20_000), &[1.0; 8]);
}

#[test]
fn shares_follow_weights() {
    let router = support::router("random");
    let weights = [1.0, 2.5, 5.0, 0.5, 1.0 / 3.0];
    let workers = add_weighted(&router, &weights);
    assert_shares(&shares(&router, &workers, &Request::none(), 30_000), &weights);
}

#[test]
fn a_thousand_workers_of_unequal_weights() {
    let router = support::router("random");
    let weights: Vec<f64> = (0..1000).map(|i| 1.0 + f64::from(i % 7)).collect();
    let workers: Vec<_> = add_weighted(&router, &weights);
    assert_shares(&shares(&router, &workers, &Request::none(), 100_000), &weights);
}

#[test]
fn a_changed_weight_changes_the_shares() {
    let router = support::router("random");
    let workers = add_many(&router, Role::Regular, 4);
    router.set_weight(workers[2], 3.0).unwrap();
    let observed = shares(&router, &workers, &Request::none(), 20_000);
    assert_shares(&observed, &[1.0, 1.0, 3.0, 1.0]);
}

#[test]
fn one_draw_says_nothing_about_the_next() {
    let router = support::router("random");
    let workers = add_weighted(&router, &[1.0, 2.0, 3.0]);
    let picks: Vec<usize> = (0..30_000)
        .map(|_| support::pick(&router, &Request::none()).unwrap())
        .map(|worker| workers.iter().position(|&w| w == worker).unwrap())
        .collect();
    let mut pairs = [0; 9];
    picks.windows(2).for_each(|pair| pairs[pair[0] * 3 + pair[1]] += 1);
    assert_shares(&pairs, &[1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 3.0, 6.0, 9.0]);
}

#[test]
fn both_pools_of_a_pair_are_drawn_by_weight_and_independently() {
    let router = support::router("random");
    let prefill = add_many(&router, Role::Prefill, 2);
    let decode = add_many(&router, Role::Decode, 3);
    router.set_weight(prefill[0], 2.0).unwrap();
    router.set_weight(decode[1], 2.0).unwrap();
    let mut joint = [0; 6];
    for _ in 0..20_000 {
        let pair = router.select_pair(&Request::none()).unwrap();
        let place = |ids: &[_], id| ids.iter().position(|&i| i == id).unwrap();
        joint[place(&prefill, pair.prefill().worker()) * 3
            + place(&decode, pair.decode().worker())] += 1;
        assert_eq!(pair.prefill().reason(), Reason::Random);
        assert_eq!(pair.decode().reason(), Reason::Random);
    }
    assert_shares(&joint, &[2.0, 4.0, 2.0, 1.0, 2.0, 1.0]);
}

#[test]
fn a_seed_repeats_and_another_does_not() {
    let run = |seed| {
        let mut config = support::config("random");
        config.seed = seed;
        let router = Router::new(config).unwrap();
        add_many(&router, Role::Regular, 64);
        (0..50).map(|_| support::pick(&router, &Request::none()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(Some(1)), run(Some(1)));
    assert_ne!(run(Some(1)), run(Some(2)));
    assert_ne!(run(None), run(None));
}

#[test]
fn threads_draw_fairly_together() {
    let mut config = support::config("random");
    config.seed = None;
    let router = Router::new(config).unwrap();
    let workers = add_weighted(&router, &[1.0, 1.0, 2.0]);
    let counts: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let run = || shares(&router, &workers, &Request::none(), 5_000);
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sums: Vec<u64> = (0..3).map(|i| counts.iter().map(|c| c[i]).sum()).collect();
    assert_shares(&sums, &[1.0, 1.0, 2.0]);
    // Threads do not repeat each other's draws.
    assert!(counts.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn after_fork_the_draws_differ() {
    let draws = |router: &Router| {
        (0..40).map(|_| support::pick(router, &Request::none()).unwrap()).collect::<Vec<_>>()
    };
    let (parent, child) = (support::router("random"), support::router("random"));
    let workers = add_many(&parent, Role::Regular, 32);
    add_many(&child, Role::Regular, 32);
    child.after_fork();
    assert_ne!(draws(&parent), draws(&child));
    assert_eq!(tally(&workers, draws(&child).into_iter()).iter().sum::<u64>(), 40);
}
