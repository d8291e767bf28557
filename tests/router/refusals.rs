//! What a refused request is told: a limit is told as one, and nothing else is.

use std::sync::Arc;

use pointsman::{
    PolicyError, PolicyFailure, Reason, Request, Role, Router, RoutingError, RoutingPolicy,
    WorkerSpec,
    policy::{Candidates, Decision, RequestView},
};

use crate::support::{self, add, refusal, router_of};

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
