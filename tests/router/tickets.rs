//! Tickets: the load is given back exactly once, whatever the host does.

use pointsman::{
    Outcome, Request, Role, Router, Selection, Ticket, TicketError, Usage, WorkerSpec,
};

use crate::support::{self, POLICIES, SECOND, add, add_many, assert_idle, in_flight, status};

const DONE: (Outcome, Usage) =
    (Outcome::Success, Usage { prompt_tokens: None, cached_tokens: None, completion_tokens: None });

fn complete(router: &Router, ticket: Ticket) -> Result<(), TicketError> {
    router.complete(ticket, DONE.0, DONE.1)
}

#[test]
fn completing_twice_or_late_is_an_error_and_harms_nothing() {
    for name in POLICIES {
        let router = support::router(name);
        let worker = add_many(&router, Role::Regular, 1)[0];
        let ticket = router.select(&Request::none()).unwrap().into_ticket();
        assert_eq!(in_flight(&router, worker), 1);
        assert_eq!(complete(&router, ticket), Ok(()));
        assert_eq!(complete(&router, ticket), Err(TicketError::Closed));
        let other = router.select(&Request::none()).unwrap();
        assert_eq!(complete(&router, ticket), Err(TicketError::Closed));
        assert_eq!(router.first_token(ticket, None), Err(TicketError::Closed));
        assert_eq!(router.progress(ticket), Err(TicketError::Closed));
        assert_eq!(in_flight(&router, worker), 1, "the other request is untouched");
        drop(other);
        assert_idle(&router);
    }
}

#[test]
fn a_number_that_was_never_given_out_is_unknown() {
    let router = support::router("random");
    add_many(&router, Role::Regular, 1);
    let open = router.select(&Request::none()).unwrap();
    let raw = open.ticket().to_raw();
    for forged in [raw ^ 1, raw + (1 << 20), raw | 1 << 63, 1, u64::MAX, 5 << 20 | 0xfffff] {
        let ticket = Ticket::from_raw(forged);
        assert_eq!(complete(&router, ticket), Err(TicketError::Unknown), "{forged:#x}");
        assert_eq!(router.first_token(ticket, None), Err(TicketError::Unknown));
        assert_eq!(router.progress(ticket), Err(TicketError::Unknown));
    }
    assert_eq!(router.metrics().tickets.open, 1);
    assert_eq!(Ticket::from_raw(raw), open.ticket());
}

#[test]
fn a_full_table_answers_untracked_and_counts_it() {
    for name in POLICIES {
        let mut config = support::config(name);
        config.max_tickets = 64;
        let router = Router::new(config).unwrap();
        let worker = add_many(&router, Role::Regular, 1)[0];
        let held: Vec<Selection> =
            (0..64).map(|_| router.select(&Request::none()).unwrap()).collect();
        assert!(held.iter().all(|selection| selection.ticket().is_tracked()));
        let extra = router.select(&Request::none()).unwrap();
        assert_eq!(extra.ticket(), Ticket::UNTRACKED);
        assert_eq!(extra.ticket().to_raw(), 0);
        assert_eq!((extra.worker(), in_flight(&router, worker)), (worker, 64), "not charged");
        extra.first_token(None).unwrap();
        extra.progress().unwrap();
        extra.complete(DONE.0, DONE.1).unwrap();
        assert_eq!(complete(&router, Ticket::UNTRACKED), Ok(()));
        let tickets = router.metrics().tickets;
        assert_eq!((tickets.open, tickets.capacity, tickets.untracked), (64, 64, 1));
        drop(held);
        assert!(router.select(&Request::none()).unwrap().ticket().is_tracked());
        assert_idle(&router);
    }
}

#[test]
fn a_full_table_answers_pairs_uncharged_too() {
    let mut config = support::config("least_work");
    config.max_tickets = 64;
    let router = Router::new(config).unwrap();
    let prefill = add_many(&router, Role::Prefill, 1)[0];
    add_many(&router, Role::Decode, 1);
    let held: Vec<_> = (0..64).map(|_| router.select_pair(&Request::none()).unwrap()).collect();
    let extra = router.select_pair(&Request::none()).unwrap();
    assert!(!extra.ticket().is_tracked());
    extra.first_token(None).unwrap();
    drop(extra);
    assert_eq!(in_flight(&router, prefill), 64);
    drop(held);
    assert_idle(&router);
}

#[test]
fn the_table_s_size_is_rounded_up() {
    let mut config = support::config("random");
    config.max_tickets = 65;
    let tickets = Router::new(config).unwrap().metrics().tickets;
    assert_eq!(tickets.capacity, 128);
}

#[test]
fn dropping_gives_the_load_back_as_cancelled() {
    let router = support::router("random");
    let worker = add_many(&router, Role::Regular, 1)[0];
    drop(router.select(&Request::none()).unwrap());
    assert_idle(&router);
    let outcomes = router.metrics().workers[0].outcomes;
    assert_eq!(outcomes[Outcome::ClientCancelled.index()], 1);
    assert_eq!(status(&router, worker).selections, 1);
}

#[test]
fn into_ticket_hands_the_duty_over() {
    let router = support::router("random");
    let worker = add_many(&router, Role::Regular, 1)[0];
    let selection = router.select(&Request::none()).unwrap();
    let number = selection.ticket();
    let ticket = selection.into_ticket();
    assert_eq!(ticket, number);
    assert_eq!(in_flight(&router, worker), 1, "nothing was given back on the way");
    complete(&router, ticket).unwrap();
    assert_idle(&router);
}

#[test]
fn a_selection_outlives_the_router_in_another_thread() {
    let router = support::router("random");
    add_many(&router, Role::Regular, 1);
    let selection = router.select(&Request::none()).unwrap();
    let other = router.clone();
    drop(router);
    let thread = std::thread::spawn(move || {
        selection.first_token(None).unwrap();
        selection.complete(DONE.0, DONE.1)
    });
    thread.join().unwrap().unwrap();
    assert_idle(&other);
    let last = other.select(&Request::none()).unwrap();
    drop(other);
    assert_eq!(last.url().as_deref(), Some("http://regular-0"));
    drop(last);
}

#[test]
fn the_number_of_a_selection_that_was_completed_elsewhere_is_closed() {
    let router = support::router("random");
    let worker = add_many(&router, Role::Regular, 1)[0];
    let selection = router.select(&Request::none()).unwrap();
    complete(&router, selection.ticket()).unwrap();
    let other = router.select(&Request::none()).unwrap();
    assert_eq!(selection.complete(DONE.0, DONE.1), Err(TicketError::Closed));
    assert_eq!(in_flight(&router, worker), 1);
    drop(other);
}

#[test]
fn removing_a_worker_closes_its_tickets_and_no_others() {
    for name in POLICIES {
        let router = support::router(name);
        let workers = add_many(&router, Role::Regular, 2);
        let on = |i: usize| router.select(&Request::none().allow(&workers[i..=i])).unwrap();
        let (gone, streaming, stays) = (on(0), on(0), on(1));
        streaming.first_token(None).unwrap();
        router.remove_worker(workers[0]).unwrap();
        assert_eq!(router.metrics().tickets.open, 1);
        assert_eq!(gone.first_token(None), Err(TicketError::Closed));
        assert_eq!(gone.complete(DONE.0, DONE.1), Err(TicketError::Closed));
        drop(streaming);
        assert_eq!(in_flight(&router, workers[1]), 1);
        assert_eq!(stays.complete(DONE.0, DONE.1), Ok(()));
        assert_idle(&router);
    }
}

#[test]
fn a_late_completion_does_not_touch_the_slot_s_next_worker() {
    let mut config = support::config("least_work");
    config.max_workers = 1;
    let router = Router::new(config).unwrap();
    let first = add(&router, WorkerSpec::new("first"));
    let late = router.select(&Request::none()).unwrap().into_ticket();
    router.remove_worker(first).unwrap();
    let next = loop {
        let next = add(&router, WorkerSpec::new("next"));
        if next.slot() == first.slot() {
            break next;
        }
        router.remove_worker(next).unwrap();
    };
    assert_ne!(next, first);
    let held = router.select(&Request::none()).unwrap();
    assert_eq!(complete(&router, late), Err(TicketError::Closed));
    assert_eq!(in_flight(&router, next), 1);
    drop(held);
    assert_eq!(status(&router, next).selections, 1, "counters start clean");
    assert_idle(&router);
}

#[test]
fn an_open_ticket_expires_at_its_deadline_and_not_before() {
    let mut config = support::config("random");
    config.ticket_deadline_secs = 100.0;
    let router = Router::new(config).unwrap();
    add_many(&router, Role::Regular, 1);
    let start = 5 * SECOND;
    let ticket = router.at(start).select(&Request::none()).unwrap().into_ticket();
    router.at(start + 100 * SECOND - 1).tick();
    assert_eq!(router.metrics().tickets.open, 1);
    router.at(start + 100 * SECOND).tick();
    assert_idle(&router);
    assert_eq!(router.metrics().tickets.expired, 1);
    assert_eq!(router.metrics().workers[0].outcomes[Outcome::Expired.index()], 1);
    assert_eq!(complete(&router, ticket), Err(TicketError::Closed));
}

#[test]
fn a_host_that_says_expired_has_cancelled() {
    let router = support::router("random");
    add_many(&router, Role::Regular, 1);
    let selection = router.select(&Request::none()).unwrap();
    selection.complete(Outcome::Expired, Usage::default()).unwrap();
    let outcomes = router.metrics().workers[0].outcomes;
    assert_eq!(outcomes[Outcome::ClientCancelled.index()], 1);
    assert_eq!(outcomes[Outcome::Expired.index()], 0);
    assert_idle(&router);
}

#[test]
fn progress_puts_the_deadline_off() {
    let mut config = support::config("random");
    config.ticket_deadline_secs = 100.0;
    let router = Router::new(config).unwrap();
    add_many(&router, Role::Regular, 1);
    let ticket = router.at(0).select(&Request::none()).unwrap().into_ticket();
    router.at(60 * SECOND).progress(ticket).unwrap();
    router.at(70 * SECOND).first_token(ticket, None).unwrap();
    router.at(159 * SECOND).tick();
    assert_eq!(router.metrics().tickets.open, 1, "60 s and 100 s are 160 s");
    router.at(159 * SECOND).progress(ticket).unwrap();
    router.at(258 * SECOND).tick();
    assert_eq!(router.metrics().tickets.open, 1);
    router.at(259 * SECOND).tick();
    assert_idle(&router);
    assert_eq!(router.at(260 * SECOND).progress(ticket), Err(TicketError::Closed));
}

#[test]
fn without_ticks_the_calls_themselves_expire_what_is_due() {
    let mut config = support::config("random");
    config.ticket_deadline_secs = 100.0;
    config.max_tickets = 256;
    let router = Router::new(config).unwrap();
    add_many(&router, Role::Regular, 1);
    for _ in 0..256 {
        let _ = router.at(0).select(&Request::none()).unwrap().into_ticket();
    }
    // Four words of 64 tickets; the whole table is looked at within one deadline.
    let mut now = 100 * SECOND;
    while router.metrics().tickets.open > 0 {
        drop(router.at(now).select(&Request::none()));
        now += SECOND;
        assert!(now < 200 * SECOND, "{} still open", router.metrics().tickets.open);
    }
    assert_eq!(router.metrics().tickets.expired, 256);
}

#[test]
fn a_clock_that_jumps_back_expires_nothing_early() {
    let mut config = support::config("random");
    config.ticket_deadline_secs = 100.0;
    let router = Router::new(config).unwrap();
    let worker = add_many(&router, Role::Regular, 1)[0];
    router.at(1_000 * SECOND).tick();
    let ticket = router.at(950 * SECOND).select(&Request::none()).unwrap().into_ticket();
    router.at(960 * SECOND).tick();
    router.at(900 * SECOND).first_token(ticket, None).unwrap();
    router.at(10 * SECOND).complete(ticket, DONE.0, DONE.1).unwrap();
    assert_eq!(in_flight(&router, worker), 0);
    assert!(router.at(0).select(&Request::none()).is_ok());
}

#[test]
fn a_forked_child_inherits_no_request() {
    for name in POLICIES {
        let router = support::router(name);
        let workers = add_many(&router, Role::Regular, 2);
        add_many(&router, Role::Prefill, 1);
        add_many(&router, Role::Decode, 1);
        let held: Vec<_> =
            (0..5).map(|_| router.select(&Request::text("a prompt")).unwrap()).collect();
        let pair = router.select_pair(&Request::none()).unwrap();
        router.after_fork();
        assert_idle(&router);
        for selection in held {
            assert_eq!(selection.complete(DONE.0, DONE.1), Err(TicketError::Closed));
        }
        drop(pair);
        assert_idle(&router);
        let selection = router.select(&Request::text("a prompt")).unwrap();
        assert!(workers.contains(&selection.worker()));
        assert_eq!(in_flight(&router, selection.worker()), 1);
        selection.first_token(None).unwrap();
        selection.complete(DONE.0, DONE.1).unwrap();
        assert_idle(&router);
    }
}

#[test]
fn every_ticket_of_the_table_can_be_used_again() {
    let mut config = support::config("random");
    config.max_tickets = 64;
    let router = Router::new(config).unwrap();
    add_many(&router, Role::Regular, 1);
    let mut old = Vec::new();
    for _ in 0..20 {
        let held: Vec<Ticket> =
            (0..64).map(|_| router.select(&Request::none()).unwrap().into_ticket()).collect();
        assert!(held.iter().all(|ticket| ticket.is_tracked() && !old.contains(ticket)));
        for &ticket in held.iter().rev() {
            complete(&router, ticket).unwrap();
        }
        old.extend(held);
    }
    assert_eq!(router.metrics().tickets.untracked, 0);
    assert!(old.iter().all(|&ticket| complete(&router, ticket) == Err(TicketError::Closed)));
    assert_idle(&router);
}

#[test]
fn requests_beyond_the_table_are_spread_whatever_the_policy() {
    for name in POLICIES {
        let mut config = support::config(name);
        config.max_tickets = 64;
        let router = Router::new(config).unwrap();
        let workers = add_many(&router, Role::Regular, 4);
        let held: Vec<Selection> =
            (0..64).map(|_| router.select(&Request::text("tracked")).unwrap()).collect();
        let beyond: Vec<_> = (0..4000)
            .map(|_| {
                let selection = router.select(&Request::text("not tracked")).unwrap();
                assert_eq!(selection.ticket(), Ticket::UNTRACKED, "{name}");
                let worker = selection.worker();
                assert_eq!(selection.complete(DONE.0, DONE.1), Ok(()));
                worker
            })
            .collect();
        support::assert_shares(&support::tally(&workers, beyond.into_iter()), &[1.0; 4]);
        assert_eq!(router.metrics().tickets.untracked, 4000);
        drop(held);
        assert_idle(&router);
    }
}

/// A worker that was charged for a request which then could not be tracked has not been selected.
#[test]
fn a_charge_that_is_taken_back_is_no_selection() {
    for pairs in [false, true] {
        let mut config = support::config("power_of_two");
        config.max_tickets = 64;
        let router = Router::new(config).unwrap();
        Role::ALL.iter().for_each(|&role| drop(add_many(&router, role, 3)));
        let select = || match pairs {
            true => router.select_pair(&Request::none()).unwrap().into_ticket().is_tracked(),
            false => router.select(&Request::none()).unwrap().into_ticket().is_tracked(),
        };
        let tracked = (0..100).filter(|_| select()).count();
        assert_eq!(tracked, 64);
        let selected: u64 = router.metrics().workers.iter().map(|worker| worker.selections).sum();
        assert_eq!(selected, if pairs { 128 } else { 64 });
    }
}
