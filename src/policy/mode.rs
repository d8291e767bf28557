//! One worker or a pair: what is decided, and by which method of a policy.

use super::error::RoutingError;
use super::{Decision, PairDecision, RequestView, RoutingPolicy};
use crate::pool::candidates::Candidates;
use crate::worker::{Role, WorkerId};

/// Whether a request goes to one worker or to a pair.
pub(crate) trait Mode {
    /// What is decided.
    type Choice: Copy;
    /// The role of the worker that answers.
    const ROLE: Role;
    /// The roles of all workers that take part.
    const ROLES: &'static [Role];

    fn decide<'a>(
        policy: &dyn RoutingPolicy,
        candidates: impl Fn(Role) -> Candidates<'a>,
        request: &RequestView<'_>,
    ) -> Result<Self::Choice, RoutingError>;

    /// A chosen worker that is not a candidate. One that has become full since the policy looked is
    /// let through: charging it will fail, and the request is routed anew, with that worker ruled out.
    fn non_candidate<'a>(
        choice: &Self::Choice,
        candidates: impl Fn(Role) -> Candidates<'a>,
    ) -> Option<WorkerId>;

    /// The decision on the worker that answers.
    fn main(choice: &Self::Choice) -> &Decision;

    /// The decision on a prefill worker of its own.
    fn prefill(choice: &Self::Choice) -> Option<&Decision>;

    /// The decision on the worker that computes the prompt.
    #[inline(always)]
    fn prompt(choice: &Self::Choice) -> &Decision {
        Self::prefill(choice).unwrap_or_else(|| Self::main(choice))
    }
}

/// One worker serves the whole request.
pub(crate) enum Single {}

/// A prefill and a decode worker.
pub(crate) enum Pair {}

impl Mode for Single {
    type Choice = Decision;
    const ROLE: Role = Role::Regular;
    const ROLES: &'static [Role] = &[Role::Regular];

    #[inline(always)]
    fn decide<'a>(
        policy: &dyn RoutingPolicy,
        candidates: impl Fn(Role) -> Candidates<'a>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        policy.select_single(&candidates(Role::Regular), request)
    }

    #[inline(always)]
    fn non_candidate<'a>(
        choice: &Decision,
        candidates: impl Fn(Role) -> Candidates<'a>,
    ) -> Option<WorkerId> {
        let worker = choice.worker;
        if candidates(Role::Regular).includes(worker) { None } else { Some(worker) }
    }

    #[inline(always)]
    fn main(choice: &Decision) -> &Decision {
        choice
    }

    #[inline(always)]
    fn prefill(_choice: &Decision) -> Option<&Decision> {
        None
    }
}

impl Mode for Pair {
    type Choice = PairDecision;
    const ROLE: Role = Role::Decode;
    const ROLES: &'static [Role] = &[Role::Prefill, Role::Decode];

    fn decide<'a>(
        policy: &dyn RoutingPolicy,
        candidates: impl Fn(Role) -> Candidates<'a>,
        request: &RequestView<'_>,
    ) -> Result<PairDecision, RoutingError> {
        policy.select_pair(&candidates(Role::Prefill), &candidates(Role::Decode), request)
    }

    fn non_candidate<'a>(
        choice: &PairDecision,
        candidates: impl Fn(Role) -> Candidates<'a>,
    ) -> Option<WorkerId> {
        let chosen = [(Role::Prefill, &choice.prefill), (Role::Decode, &choice.decode)];
        let mut workers = chosen.into_iter().map(|(role, decision)| (role, decision.worker));
        workers.find(|&(role, worker)| !candidates(role).includes(worker)).map(|(_, worker)| worker)
    }

    fn main(choice: &PairDecision) -> &Decision {
        &choice.decode
    }

    fn prefill(choice: &PairDecision) -> Option<&Decision> {
        Some(&choice.prefill)
    }
}
