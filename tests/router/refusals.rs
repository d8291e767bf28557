//! What a refused request is told: a limit is told as one, and nothing else is.

use std::sync::Arc;

use pointsman::{
    PolicyError, PolicyFailure, Reason, Request, Role, Router, RoutingError, RoutingPolicy,
    WorkerId, WorkerSpec,
    policy::{Candidates, Decision, RequestView},
};

use crate::support::{self, POLICIES, add, assert_idle, in_flight, refusal, router_of};

/// Takes the first candidate, but wants no decode worker whose URL begins with "never".
struct Choosy;

impl RoutingPolicy for Choosy {
    fn name(&self) -> &str {
        "choosy"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let count = candidates.iter().count() as u32;
        let wanted = candidates.iter().find(|candidate| {
            candidate.info().is_some_and(|worker| !worker.url.starts_with("never"))
        });
        match wanted {
            Some(candidate) => Ok(Decision::new(candidate.id(), Reason::Custom)),
            None if count == 0 => Err(candidates.none()),
            None => Err(refused(count)),
        }
    }
}

fn refused(candidates: u32) -> RoutingError {
    RoutingError::from(PolicyFailure::new("choosy", PolicyError::Refused { candidates }))
}

fn router() -> Router {
    router_of(support::config("random"), Arc::new(Choosy))
}

/// A router that can track 64 requests, all in flight on workers of these limits.
fn full_table(name: &str, role: Role, limits: &[Option<u32>]) -> (Router, Vec<WorkerId>) {
    let mut config = support::config(name);
    config.max_tickets = 64;
    let router = Router::new(config).unwrap();
    let spec = |i: usize, limit: Option<u32>| {
        let spec = WorkerSpec::new(format!("{role}-{i}")).role(role);
        limit.into_iter().fold(spec, WorkerSpec::max_in_flight)
    };
    let ids = limits.iter().enumerate().map(|(i, &limit)| add(&router, spec(i, limit))).collect();
    (router, ids)
}

#[test]
fn limits_hold_with_a_full_ticket_table() {
    for name in POLICIES {
        let (router, workers) = full_table(name, Role::Regular, &[Some(70), Some(70)]);
        let asked: Vec<_> = (0..1000).map(|_| router.select(&Request::none())).collect();
        let (served, refused): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
        assert_eq!((served.len(), refused.len()), (64, 936), "{name}");
        let expected = RoutingError::AllBusy { role: Role::Regular, busy: 2 };
        assert!(refused.into_iter().all(|refused| refusal(refused) == expected), "{name}");
        assert_eq!(router.metrics().tickets.untracked, 0);
        let sum: usize = workers.iter().map(|&worker| in_flight(&router, worker)).sum();
        assert_eq!(sum, 64, "{name}: a refused request charges nothing");
        drop(served);
        assert!(router.select(&Request::none()).unwrap().ticket().is_tracked());
        assert_idle(&router);
    }
}

#[test]
fn what_cannot_be_tracked_goes_to_workers_without_a_limit() {
    for name in POLICIES {
        let limits = [Some(1000), None, Some(1000), None];
        let (router, workers) = full_table(name, Role::Regular, &limits);
        let held: Vec<_> = (0..64).map(|_| router.select(&Request::none()).unwrap()).collect();
        let beyond = (0..4000).map(|_| {
            let selection = router.select(&Request::text("not tracked")).unwrap();
            assert!(!selection.ticket().is_tracked());
            selection.worker()
        });
        let tally = support::tally(&workers, beyond);
        assert_eq!([tally[0], tally[2]], [0, 0], "{name}");
        support::assert_shares(&[tally[1], tally[3]], &[1.0; 2]);
        // The request's own restrictions hold, too.
        let excluded = [workers[1], workers[3]];
        let error = refusal(router.select(&Request::none().exclude(&excluded)));
        assert_eq!(error, RoutingError::AllBusy { role: Role::Regular, busy: 2 }, "{name}");
        drop(held);
        assert_idle(&router);
    }
}

#[test]
fn a_pair_that_cannot_be_tracked_needs_two_workers_without_a_limit() {
    for name in POLICIES {
        let (router, _) = full_table(name, Role::Prefill, &[Some(1000), None]);
        let decode = add(&router, WorkerSpec::new("d").role(Role::Decode));
        let held: Vec<_> = (0..64).map(|_| router.select_pair(&Request::none()).unwrap()).collect();
        for _ in 0..100 {
            let pair = router.select_pair(&Request::none()).unwrap();
            assert!(!pair.ticket().is_tracked());
            assert_eq!(pair.prefill().url().as_deref(), Some("prefill-1"), "{name}");
        }
        router.set_max_in_flight(decode, Some(1000)).unwrap();
        let error = refusal(router.select_pair(&Request::none()));
        assert_eq!(error, RoutingError::AllBusy { role: Role::Decode, busy: 1 }, "{name}");
        drop(held);
        assert_idle(&router);
    }
}

#[test]
fn a_policy_s_own_refusal_is_no_limit() {
    let router = router();
    let ask = || router.select(&Request::none());
    add(&router, WorkerSpec::new("never"));
    assert_eq!(refusal(ask()), refused(1));
    let limited = add(&router, WorkerSpec::new("a").max_in_flight(1));
    let held = ask().unwrap();
    assert_eq!(held.worker(), limited);
    // Of the two, one is full and the other is not wanted.
    assert_eq!(refusal(ask()), refused(1));
}

#[test]
fn a_policy_s_own_refusal_of_a_pair_stands_whatever_the_order_of_the_groups() {
    for order in [["x", "y"], ["y", "x"]] {
        let router = router();
        let ask = || router.select_pair(&Request::none());
        for group in order {
            let spec = |url: String, role| WorkerSpec::new(url).role(role).group(group);
            add(&router, spec(format!("p{group}"), Role::Prefill));
            let decode = if group == "x" { "never".to_owned() } else { format!("d{group}") };
            add(&router, spec(decode, Role::Decode).max_in_flight(1));
        }
        // Group x's decode worker is not wanted, group y's serves until it is full.
        let held = ask().unwrap();
        assert_eq!(refusal(ask()), refused(1), "{order:?}");
        drop(held);
        assert!(ask().is_ok());
    }
}
