//! Workers that fail and come back, over and over.

use pointsman::{Outcome, Request, Role, Router, Usage, WorkerId};

use super::{SECOND, assert_recovered};
use crate::support::{POLICIES, add_many, router, status};

/// Serves one request every 50 ms for this many seconds; `fails` says whether a worker is down now.
/// Returns the requests served by workers that were down.
fn drive(router: &Router, from: u64, secs: u64, fails: impl Fn(WorkerId, u64) -> bool) -> u32 {
    let mut wasted = 0;
    for step in 0..secs * 20 {
        let now = from + step * SECOND / 20;
        let selection = router.at(now).select(&Request::none()).unwrap();
        let down = fails(selection.worker(), now);
        let outcome = if down { Outcome::WorkerError } else { Outcome::Success };
        wasted += u32::from(down);
        router.at(now).complete(selection.into_ticket(), outcome, Usage::default()).unwrap();
    }
    wasted
}

#[test]
fn outcomes_that_flap_for_an_hour() {
    for name in POLICIES {
        let router = router(name);
        let workers = add_many(&router, Role::Regular, 8);
        // Three of eight are down for one minute of every two.
        let flaps = |worker: WorkerId, now: u64| {
            workers[..3].contains(&worker) && (now / (60 * SECOND)) % 2 == 1
        };
        let wasted = drive(&router, 0, 3_600, flaps);
        // Without ejection it would be 3/8 of half of 72,000 requests: 13,500.
        assert!(wasted < 700, "{name}: {wasted} requests went to workers that were down");
        // Up for good: the longest ejection ends, and two successes on probation are enough.
        let up = 3_600 * SECOND + 301 * SECOND;
        drive(&router, up, 60, |_, _| false);
        let up = up + 60 * SECOND;
        assert!(workers.iter().all(|&worker| {
            let status = status(&router, worker);
            status.healthy && !status.on_probation
        }));
        assert_recovered(&router, &workers, up);
    }
}

#[test]
fn a_prober_that_cannot_make_up_its_mind() {
    for name in POLICIES {
        let router = router(name);
        let workers = add_many(&router, Role::Regular, 4);
        let mut open = Vec::new();
        let states = [
            pointsman::HostHealth::Unhealthy,
            pointsman::HostHealth::Healthy,
            pointsman::HostHealth::Unknown,
        ];
        for round in 0..4_000 {
            let worker = workers[round % 3];
            router.set_health(worker, states[round / 3 % 3]).unwrap();
            let selection = router.at(SECOND).select(&Request::none()).unwrap();
            let unhealthy = status(&router, selection.worker());
            assert!(unhealthy.healthy, "{name}: chosen while the host said no");
            open.push(selection);
            if open.len() == 16 {
                open.clear();
            }
        }
        open.clear();
        workers
            .iter()
            .for_each(|&worker| router.set_health(worker, pointsman::HostHealth::Unknown).unwrap());
        assert_recovered(&router, &workers, SECOND);
    }
}
