//! One worker or a pair: what is decided, by which method, and what the host gets.

use super::commit::Routed;
use super::handle::Handle;
use super::selection::{BareSelection, PairSelection, Selection};
use crate::policy::error::RoutingError;
use crate::policy::{Decision, PairDecision, RequestView, RoutingPolicy};
use crate::pool::candidates::Candidates;
use crate::worker::{Role, WorkerId};

/// Whether a request goes to one worker or to a pair: what is decided, and by which method.
pub(super) trait Mode: Copy {
    /// What is decided.
    type Choice: Copy;
    /// What the host gets.
    type Selection;
    /// The role of the worker that answers.
    const ROLE: Role;

    fn decide<'a>(
        policy: &dyn RoutingPolicy,
        candidates: impl Fn(Role) -> Candidates<'a>,
        request: &RequestView<'_>,
    ) -> Result<Self::Choice, RoutingError>;

    /// A chosen worker that is not a candidate. One that has become full since the policy looked is
    /// let through: charging it will fail, and the request is routed anew.
    fn outsider<'a>(
        choice: &Self::Choice,
        candidates: impl Fn(Role) -> Candidates<'a>,
    ) -> Option<WorkerId>;

    /// The decision on the worker that answers.
    fn main(choice: &Self::Choice) -> &Decision;

    /// The decision on a prefill worker of its own.
    fn prefill(choice: &Self::Choice) -> Option<&Decision>;

    fn selection(
        handle: impl FnOnce() -> Handle,
        routed: Routed<'_, Self::Choice>,
    ) -> Self::Selection;
}

/// One worker does it all.
#[derive(Clone, Copy)]
pub(super) enum Single {}

/// A prefill and a decode worker.
#[derive(Clone, Copy)]
pub(super) enum Pair {}

impl Mode for Single {
    type Choice = Decision;
    type Selection = Selection;
    const ROLE: Role = Role::Regular;

    #[inline(always)]
    fn decide<'a>(
        policy: &dyn RoutingPolicy,
        candidates: impl Fn(Role) -> Candidates<'a>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        policy.select_single(&candidates(Role::Regular), request)
    }

    #[inline(always)]
    fn outsider<'a>(
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

    #[inline(always)]
    fn selection(handle: impl FnOnce() -> Handle, routed: Routed<'_, Decision>) -> Selection {
        Selection::new(handle(), routed)
    }
}

/// As [`Single`]; the host keeps the ticket as a number.
#[derive(Clone, Copy)]
pub(super) enum Bare {}

impl Mode for Bare {
    type Choice = Decision;
    type Selection = BareSelection;
    const ROLE: Role = Single::ROLE;

    #[inline(always)]
    fn decide<'a>(
        policy: &dyn RoutingPolicy,
        candidates: impl Fn(Role) -> Candidates<'a>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        Single::decide(policy, candidates, request)
    }

    #[inline(always)]
    fn outsider<'a>(
        choice: &Decision,
        candidates: impl Fn(Role) -> Candidates<'a>,
    ) -> Option<WorkerId> {
        Single::outsider(choice, candidates)
    }

    #[inline(always)]
    fn main(choice: &Decision) -> &Decision {
        choice
    }

    #[inline(always)]
    fn prefill(_choice: &Decision) -> Option<&Decision> {
        None
    }

    #[inline(always)]
    fn selection(_: impl FnOnce() -> Handle, routed: Routed<'_, Decision>) -> BareSelection {
        BareSelection {
            decision: *routed.choice,
            ticket: routed.ticket,
            total_tokens: routed.total_tokens,
            user_data: routed.user_data,
        }
    }
}

impl Mode for Pair {
    type Choice = PairDecision;
    type Selection = PairSelection;
    const ROLE: Role = Role::Decode;

    fn decide<'a>(
        policy: &dyn RoutingPolicy,
        candidates: impl Fn(Role) -> Candidates<'a>,
        request: &RequestView<'_>,
    ) -> Result<PairDecision, RoutingError> {
        policy.select_pair(&candidates(Role::Prefill), &candidates(Role::Decode), request)
    }

    fn outsider<'a>(
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

    fn selection(
        handle: impl FnOnce() -> Handle,
        routed: Routed<'_, PairDecision>,
    ) -> PairSelection {
        PairSelection::new(handle(), routed)
    }
}
