//! Hosts that never complete.

use pointsman::{Outcome, Request, Role, Router};

use super::{SECOND, assert_recovered, serve};
use crate::support::{POLICIES, add_many, assert_idle, config};

#[test]
fn a_table_full_of_forgotten_tickets_empties_itself() {
    for name in POLICIES {
        let mut config = config(name);
        config.ticket_deadline_secs = 60.0;
        let router = Router::new(config).unwrap();
        let workers = add_many(&router, Role::Regular, 4);
        add_many(&router, Role::Prefill, 2);
        add_many(&router, Role::Decode, 2);
        for round in 0..3_000 {
            let request = Request::text("never to be completed");
            let tracked = if round % 3 == 0 {
                router.at(SECOND).select_pair(&request).unwrap().into_ticket().is_tracked()
            } else {
                router.at(SECOND).select(&request).unwrap().into_ticket().is_tracked()
            };
            assert_eq!(tracked, round < 1024, "{name}: the table has 1,024 places");
        }
        let metrics = router.metrics();
        assert_eq!((metrics.tickets.open, metrics.tickets.untracked), (1024, 3_000 - 1024));
        // Each call looks at 64 of the places once that is due: seventeen calls see the 1,024 and those for
        // threads without a stripe.
        let later = 62 * SECOND;
        for step in 0..17 {
            router.at(later + step * SECOND).select(&Request::none()).map(drop).unwrap();
        }
        assert_idle(&router);
        assert_eq!(router.metrics().tickets.expired, 1024);
        assert_recovered(&router, &workers, later + 20 * SECOND);
    }
}

#[test]
fn one_host_in_ten_forgets_for_a_day() {
    let mut config = config("least_work");
    config.ticket_deadline_secs = 60.0;
    let router = Router::new(config).unwrap();
    let workers = add_many(&router, Role::Regular, 4);
    for step in 0..100_000 {
        let now = step * SECOND * 86_400 / 100_000;
        if step % 10 == 0 {
            let _ = router.at(now).select(&Request::none()).unwrap().into_ticket();
        } else {
            serve(&router, Outcome::Success, now);
        }
        // 68 s hold 79 requests, of which 8 are forgotten.
        if step % 1_000 == 0 {
            assert!(router.metrics().tickets.open < 20);
        }
    }
    let end = 86_400 * SECOND;
    router.at(end + 120 * SECOND).tick();
    assert_recovered(&router, &workers, end + 121 * SECOND);
}
