//! Clocks that jump.

use std::time::Duration;

use pointsman::{LoadReport, Outcome, Request, Role, Router, TicketError, Usage};

use super::{SECOND, assert_recovered, serve};
use crate::support::{POLICIES, add_many, assert_idle, config, router, status};

const JUMPS: [u64; 12] = [
    5,
    1 << 40,
    0,
    u64::MAX,
    3,
    u64::MAX - 1,
    1 << 62,
    u64::MAX / 2,
    1,
    i64::MAX as u64,
    SECOND,
    u64::MAX,
];

#[track_caller]
fn expired_or_done(found: Result<(), TicketError>) {
    assert!(matches!(found, Ok(()) | Err(TicketError::Closed)), "{found:?}");
}

#[test]
fn every_call_at_any_time() {
    for name in POLICIES {
        let router = router(name);
        let workers = add_many(&router, Role::Regular, 4);
        add_many(&router, Role::Prefill, 2);
        add_many(&router, Role::Decode, 2);
        for round in 0..40 * JUMPS.len() {
            let at = |step: usize| JUMPS[(round + step) % JUMPS.len()];
            let outcome = match round % 4 {
                0 => Outcome::WorkerError,
                1 => Outcome::Timeout,
                _ => Outcome::Success,
            };
            let report = LoadReport { running: 3, at: at(1).into(), ..LoadReport::default() };
            router.report_load(workers[round % 4], report).unwrap();
            router.at(at(2)).tick();
            let request = Request::text("the same prompt each time");
            // What is open may expire between two calls, if the second says that years have passed.
            let ticket = router.at(at(3)).select(&request).unwrap().into_ticket();
            expired_or_done(router.at(at(4)).progress(ticket));
            expired_or_done(router.at(at(5)).first_token(ticket, Some(1)));
            expired_or_done(router.at(at(6)).complete(ticket, outcome, Usage::default()));
            let ticket = router.at(at(7)).select_pair(&request).unwrap().into_ticket();
            expired_or_done(router.at(at(8)).first_token(ticket, None));
            expired_or_done(router.at(at(9)).complete(ticket, outcome, Usage::default()));
        }
        assert_idle(&router);
    }
}

#[test]
fn after_a_jump_ahead_and_back_tickets_expire_as_ever() {
    let mut config = config("least_work");
    config.ticket_deadline_secs = 100.0;
    let router = Router::new(config).unwrap();
    let workers = add_many(&router, Role::Regular, 4);
    for ahead in [1_000_000 * SECOND, u64::MAX] {
        let _ = router.at(ahead).select(&Request::none()).unwrap().into_ticket();
        router.at(ahead).tick();
        // Back again. What was opened ahead of time, and what is opened now, is forgotten by its host.
        let _ = router.at(SECOND).select(&Request::none()).unwrap().into_ticket();
        // No tick: the calls of others see to it within one deadline and an eighth.
        for step in 0..20_000 {
            serve(&router, Outcome::Success, SECOND + step * 226 * SECOND / 20_000);
        }
        assert_idle(&router);
    }
    assert_recovered(&router, &workers, 300 * SECOND);
}

#[test]
fn after_a_jump_ahead_and_back_ejected_workers_return_as_ever() {
    for name in POLICIES {
        let router = router(name);
        let workers = add_many(&router, Role::Regular, 4);
        let ahead = 1_000_000 * SECOND;
        let overloaded = Outcome::Overloaded { retry_after: Duration::from_secs(1) };
        (0..40).for_each(|_| {
            serve(&router, Outcome::WorkerError, ahead);
        });
        (0..40).for_each(|_| {
            serve(&router, overloaded, ahead);
        });
        assert!(workers.iter().any(|&worker| !status(&router, worker).healthy));
        // Back again: no ejection lasts longer than the longest that is configured.
        for step in 0..8_000 {
            serve(&router, Outcome::Success, SECOND + step * 320 * SECOND / 8_000);
        }
        assert_recovered(&router, &workers, 400 * SECOND);
    }
}
