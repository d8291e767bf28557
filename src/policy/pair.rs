//! How a prefill and a decode worker are chosen together.

use std::sync::Arc;

use super::{Completion, Decision, Dispatch, FirstToken, PairDecision, RequestView, RoutingPolicy};
use crate::policy::error::RoutingError;
use crate::pool::{candidates::Candidates, filter::Filter};
use crate::worker::{Role, WorkerId, spec::WorkerInfo};

/// Chooses a prefill worker, then a decode worker that may work with it: of the same group, where
/// groups are set. If the prefill worker's group has no decode worker to give, its group is ruled
/// out and another prefill worker tried, so a pair is found wherever there is one.
///
/// `choose` decides for one role; it is asked at most (groups + 1) times for each.
pub fn jointly(
    prefill: &Candidates<'_>,
    decode: &Candidates<'_>,
    mut choose: impl FnMut(&Candidates<'_>) -> Result<Decision, RoutingError>,
) -> Result<PairDecision, RoutingError> {
    let pool = prefill.pool();
    let mut admitted = prefill.admitted();
    let mut last = None;
    for _ in 0..=pool.groups() {
        let filter = Filter::of(admitted);
        let first = match choose(&prefill.restricted(&filter)) {
            Ok(first) => first,
            Err(error) => return Err(blame(prefill, decode, last.unwrap_or(error))),
        };
        let slot = first.worker.slot();
        let found = match pool.companions(slot) {
            None => choose(decode),
            Some(companions) => {
                let filter = Filter::of(decode.admitted().and(companions));
                choose(&decode.restricted(&filter))
            }
        };
        let error = match found {
            Ok(second) => return Ok(PairDecision { prefill: first, decode: second }),
            Err(error) => error,
        };
        let Some(members) = pool.group_members(slot) else { return Err(error) };
        admitted = admitted.without(members);
        last = Some(error);
    }
    Err(blame(prefill, decode, last.unwrap_or_else(|| prefill.none())))
}

/// The error that helps most: a role with nobody at all, nobody free, or nobody who fits the other.
fn blame(prefill: &Candidates<'_>, decode: &Candidates<'_>, error: RoutingError) -> RoutingError {
    if matches!(error, RoutingError::Policy(_)) {
        return error;
    }
    let (prefills, decodes) = (prefill.iter().count() as u32, decode.iter().count() as u32);
    if prefills == 0 {
        prefill.none()
    } else if decodes == 0 {
        decode.none()
    } else {
        RoutingError::NoPair { prefill: prefills, decode: decodes }
    }
}

/// One policy for prefill and another for decode, as one policy.
pub struct PerRole {
    prefill: Arc<dyn RoutingPolicy>,
    decode: Arc<dyn RoutingPolicy>,
    name: String,
}

impl PerRole {
    /// Chooses prefill workers by one policy and decode workers by the other.
    pub fn new(prefill: Arc<dyn RoutingPolicy>, decode: Arc<dyn RoutingPolicy>) -> Self {
        let name = format!("{}/{}", prefill.name(), decode.name());
        PerRole { prefill, decode, name }
    }

    fn of(&self, role: Role) -> &dyn RoutingPolicy {
        if role == Role::Decode { &*self.decode } else { &*self.prefill }
    }

    fn each(&self, tell: impl Fn(&dyn RoutingPolicy)) {
        tell(&*self.prefill);
        tell(&*self.decode);
    }
}

impl RoutingPolicy for PerRole {
    fn name(&self) -> &str {
        &self.name
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        self.of(candidates.role()).select_single(candidates, request)
    }

    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        self.of(dispatch.role).on_dispatch(dispatch);
    }

    fn on_first_token(&self, event: &FirstToken) {
        self.prefill.on_first_token(event);
    }

    fn on_request_complete(&self, event: &Completion) {
        self.each(|policy| policy.on_request_complete(event));
    }

    fn on_worker_added(&self, worker: &WorkerInfo) {
        self.each(|policy| policy.on_worker_added(worker));
    }

    fn on_worker_removed(&self, worker: &WorkerInfo) {
        self.each(|policy| policy.on_worker_removed(worker));
    }

    fn wants_prefix(&self) -> bool {
        self.prefill.wants_prefix() || self.decode.wants_prefix()
    }

    fn wants_events(&self) -> bool {
        self.prefill.wants_events() || self.decode.wants_events()
    }

    fn gauges(&self, worker: WorkerId, now: u64, tell: &mut dyn FnMut(&'static str, f64)) {
        self.prefill.gauges(worker, now, tell);
    }

    fn after_fork(&self) {
        self.each(|policy| policy.after_fork());
    }
}
