//! Changes as fast as they can be made.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use pointsman::{ConfigError, Outcome, Request, Role, Router, SplitConfig, Usage};

use super::{SECOND, assert_recovered};
use crate::support::{POLICIES, add_many, policy, router};

const REQUESTS: u32 = if cfg!(debug_assertions) { 5_000 } else { 100_000 };

/// Four threads route, and hold up to ten requests each, while `change` is called over and over. How many
/// requests were refused.
fn route_during(router: &Router, change: impl Fn(usize) + Sync) -> u32 {
    let (refused, busy) = (AtomicU32::new(0), AtomicU32::new(4));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut open = Vec::new();
                for i in 0..REQUESTS {
                    match router.select(&Request::text("the same question")) {
                        Ok(selection) => open.push(selection),
                        Err(_) => drop(refused.fetch_add(1, Relaxed)),
                    }
                    if i % 10 == 9 {
                        let ended = |s: pointsman::Selection| {
                            s.complete(Outcome::Success, Usage::default()).unwrap();
                        };
                        open.drain(..).for_each(ended);
                    }
                }
                if busy.fetch_sub(1, Relaxed) == 1 {
                    over.store(true, Relaxed);
                }
            });
        }
        scope.spawn(|| {
            for round in 0.. {
                change(round);
                if over.load(Relaxed) {
                    return;
                }
            }
        });
    });
    refused.into_inner()
}

#[test]
fn of_policy_switches() {
    let router = router("random");
    let workers = add_many(&router, Role::Regular, 8);
    let refused = route_during(&router, |round| {
        let config = policy(POLICIES[round % POLICIES.len()]);
        // Where too many replaced policies still have open requests, the storm is told so.
        let found = match round % 3 {
            0 => router.set_policy(&config),
            1 => router.set_split(Some(&SplitConfig::new(config, 0.5))),
            _ => router.set_shadow(Some(&config)),
        };
        assert!(matches!(found, Ok(()) | Err(ConfigError::TooManyPolicies(_))), "{found:?}");
    });
    assert_eq!(refused, 0);
    router.set_split(None).unwrap();
    router.set_shadow(None).unwrap();
    for name in POLICIES {
        router.set_policy(&policy(name)).unwrap();
        assert_recovered(&router, &workers, SECOND);
    }
}

#[test]
fn of_weights_limits_and_drains() {
    for name in POLICIES {
        let router = router(name);
        let workers = add_many(&router, Role::Regular, 8);
        let refused = route_during(&router, |round| {
            // The last two are left alone, so that a worker can always serve.
            let worker = workers[round % 6];
            match round % 4 {
                0 => router.set_weight(worker, 1.0 + (round % 7) as f64),
                1 if round % 8 == 1 => router.drain_worker(worker),
                1 => router.resume_worker(worker),
                2 => router.set_max_in_flight(worker, Some(1 + round as u32 % 3)),
                _ => router.set_health(
                    worker,
                    [pointsman::HostHealth::Unknown, pointsman::HostHealth::Unhealthy]
                        [round / 4 % 2],
                ),
            }
            .unwrap();
        });
        // A request that loses four races for a limited worker's last place is told that all are busy.
        assert!(refused <= REQUESTS / 500, "{refused} of {}", 4 * REQUESTS);
        for &worker in &workers {
            router.set_weight(worker, 1.0).unwrap();
            router.resume_worker(worker).unwrap();
            router.set_max_in_flight(worker, None).unwrap();
            router.set_health(worker, pointsman::HostHealth::Unknown).unwrap();
        }
        assert_recovered(&router, &workers, SECOND);
    }
}
