//! Everything down, and up again.

use pointsman::{Outcome, Request, Role, RoutingError, Usage};

use super::{SECOND, assert_recovered, serve};
use crate::support::{POLICIES, add_many, refusal, router};

#[test]
fn all_workers_down_by_the_host_s_word_and_up_again() {
    for name in POLICIES {
        let router = router(name);
        let workers = add_many(&router, Role::Regular, 6);
        let open: Vec<_> = (0..50).map(|_| router.select(&Request::none()).unwrap()).collect();
        workers.iter().for_each(|&worker| {
            router.set_health(worker, pointsman::HostHealth::Unhealthy).unwrap()
        });
        for _ in 0..1_000 {
            let error = refusal(router.select(&Request::text("a prompt")));
            let RoutingError::NoHealthyWorkers { workers: 6, unhealthy: 6, .. } = error else {
                panic!("{name}: {error}")
            };
        }
        // What was under way when the lights went out ends as it likes.
        for (i, selection) in open.into_iter().enumerate() {
            match i % 3 {
                0 => drop(selection),
                1 => selection.complete(Outcome::WorkerError, Usage::default()).unwrap(),
                _ => selection.complete(Outcome::Success, Usage::default()).unwrap(),
            }
        }
        workers
            .iter()
            .for_each(|&worker| router.set_health(worker, pointsman::HostHealth::Healthy).unwrap());
        assert_recovered(&router, &workers, SECOND);
    }
}

#[test]
fn every_answer_an_error_and_then_none() {
    for name in POLICIES {
        let router = router(name);
        let workers = add_many(&router, Role::Regular, 6);
        // Half of them stay in, whatever they answer, so that no request is refused.
        (0..10_000).for_each(|i| {
            serve(&router, Outcome::WorkerError, i * SECOND / 100);
        });
        // All answer again: ejections end, and each passes probation.
        let up = 100 * SECOND + 301 * SECOND;
        (0..2_000).for_each(|i| {
            serve(&router, Outcome::Success, up + i * SECOND / 100);
        });
        assert_recovered(&router, &workers, up + 20 * SECOND);
    }
}
