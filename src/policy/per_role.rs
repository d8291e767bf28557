//! One policy for each role of a pair, as one policy.

use std::sync::Arc;

use super::decision::Decision;
use super::error::RoutingError;
use super::event::{Completion, Dispatch, FirstToken};
use super::request_view::RequestView;
use super::routing_policy::RoutingPolicy;
use crate::pool::candidates::Candidates;
use crate::time::Time;
use crate::worker::{Role, WorkerId, spec::WorkerInfo};

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

    fn on_worker_changed(&self, worker: &WorkerInfo) {
        self.each(|policy| policy.on_worker_changed(worker));
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

    fn gauges(&self, worker: WorkerId, now: Time, tell: &mut dyn FnMut(&'static str, f64)) {
        self.prefill.gauges(worker, now, tell);
    }

    fn after_fork(&self) {
        self.each(|policy| policy.after_fork());
    }
}
