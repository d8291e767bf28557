//! A host's policy at work, as a policy of the core.

mod arrays;

use std::ffi::c_void;
use std::sync::Arc;

use pointsman_core::{
    PolicyError, PolicyFailure, Role, RoutingError, RoutingPolicy, WorkerInfo,
    policy::{Candidates, Completion, Decision, Dispatch, FirstToken, RequestView},
};
use serde_json::Value;

use crate::callback::{Inside, in_callback};
use crate::policy::*;
use crate::special::{POINTSMAN_NONE, POINTSMAN_UNKNOWN};
use crate::status::{POINTSMAN_NO_WORKER, POINTSMAN_OK};
use arrays::Arrays;

const KNOWN_FLAGS: pointsman_policy_flags =
    POINTSMAN_POLICY_WANTS_PREFIX | POINTSMAN_POLICY_WANTS_REQUEST_EVENTS;

/// A policy that a host has registered: what instances are made from.
pub(crate) struct RegisteredPolicy {
    pub(crate) name: String,
    callbacks: pointsman_policy,
}

// SAFETY: the host promises that any thread may call the callbacks with their data.
unsafe impl Send for RegisteredPolicy {}
// SAFETY: as above, several threads at a time.
unsafe impl Sync for RegisteredPolicy {}

impl RegisteredPolicy {
    pub(crate) fn new(name: &str, callbacks: pointsman_policy) -> Self {
        RegisteredPolicy { name: name.to_owned(), callbacks }
    }

    /// Whether the flags have a meaning.
    pub(crate) fn knows(flags: pointsman_policy_flags) -> bool {
        flags & !KNOWN_FLAGS == 0
    }

    /// Makes a policy with these options.
    pub(crate) fn create(
        self: &Arc<Self>,
        options: &Value,
    ) -> Result<Arc<dyn RoutingPolicy>, PolicyError> {
        let mut instance = self.callbacks.user_data;
        if let Some(create) = self.callbacks.create {
            let mut options = options.to_string();
            let length = options.len();
            options.push('\0');
            let _inside = Inside::enter();
            instance = std::ptr::null_mut();
            // SAFETY: the host's promise at registration; the text is NUL-terminated.
            let status = unsafe {
                create(self.callbacks.user_data, options.as_ptr().cast(), length, &mut instance)
            };
            if status != POINTSMAN_OK {
                let reason = format!("create returned {status}");
                return Err(PolicyError::Options(reason));
            }
        }
        Ok(Arc::new(OwnPolicy { made_by: Arc::clone(self), instance }))
    }
}

impl Drop for RegisteredPolicy {
    fn drop(&mut self) {
        if let Some(release) = self.callbacks.release {
            let _inside = Inside::enter();
            // SAFETY: the host's promise; this is the one call of `release`.
            unsafe { release(self.callbacks.user_data) };
        }
    }
}

/// One instance at work.
struct OwnPolicy {
    made_by: Arc<RegisteredPolicy>,
    instance: *mut c_void,
}

// SAFETY: the host promises that any thread may call the callbacks with the instance.
unsafe impl Send for OwnPolicy {}
// SAFETY: as above, several threads at a time.
unsafe impl Sync for OwnPolicy {}

impl Drop for OwnPolicy {
    fn drop(&mut self) {
        let callbacks = &self.made_by.callbacks;
        if let (Some(destroy), Some(_)) = (callbacks.destroy, callbacks.create) {
            let _inside = Inside::enter();
            // SAFETY: the host's promise; the instance is its own and no longer in use.
            unsafe { destroy(self.instance) };
        }
    }
}

impl OwnPolicy {
    fn wants(&self, flag: pointsman_policy_flags) -> bool {
        self.made_by.callbacks.flags & flag != 0
    }

    #[cold]
    fn failed(&self, reason: String) -> RoutingError {
        self.failure(PolicyError::Failed(reason))
    }

    #[cold]
    fn failure(&self, source: PolicyError) -> RoutingError {
        PolicyFailure::new(self.made_by.name.clone(), source).into()
    }

    /// Asks the host, with the candidates in arrays on the stack.
    #[inline(never)]
    fn ask<const N: usize>(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let wants_prefix = self.wants(POINTSMAN_POLICY_WANTS_PREFIX);
        let mut arrays = Arrays::<N>::new();
        arrays.fill(candidates);
        if wants_prefix {
            arrays.match_prefix(request);
        }
        let select = match self.made_by.callbacks.select {
            Some(select) if arrays.count > 0 => select,
            _ => return Err(candidates.none()),
        };
        let view = arrays.view(candidates.role(), wants_prefix);
        let asked = pointsman_request_view {
            size: size_of::<pointsman_request_view>() as u32,
            prompt_tokens: request.prompt_tokens,
            now: request.now.as_nanos(),
            routing_key: request.routing_key.unwrap_or(0),
        };
        let mut decided = pointsman_decision {
            size: size_of::<pointsman_decision>() as u32,
            index: POINTSMAN_NONE,
            runner_up: POINTSMAN_NONE,
            work_tokens: 0,
            score: 0.0,
            runner_up_score: 0.0,
        };
        if in_callback() {
            // It would be asked for what it asks for itself, without end.
            return Err(self.failure(PolicyError::InCallback));
        }
        let status = {
            let _inside = Inside::enter();
            // SAFETY: the host's promise at registration; all pointers are valid during the call.
            unsafe { select(self.instance, &view, &asked, &mut decided) }
        };
        match status {
            POINTSMAN_OK => arrays.decide(&decided).ok_or_else(|| self.out_of_range(&decided)),
            // It was shown workers with room, so that none of them is taken is its own decision.
            POINTSMAN_NO_WORKER => {
                Err(self.failure(PolicyError::Refused { candidates: arrays.count as u32 }))
            }
            other => Err(self.failed(format!("select returned {other}"))),
        }
    }

    #[cold]
    fn out_of_range(&self, decided: &pointsman_decision) -> RoutingError {
        let (index, runner_up) = (decided.index, decided.runner_up);
        self.failed(format!("it chose index {index}, runner-up {runner_up}: not a candidate"))
    }

    fn tell_worker(&self, kind: pointsman_event_kind, worker: &WorkerInfo) {
        self.tell(&pointsman_event {
            user_data: worker.user_data,
            ..event(kind, worker.id.to_raw(), worker.id.slot(), worker.role)
        });
    }

    fn tell(&self, event: &pointsman_event) {
        if let Some(on_event) = self.made_by.callbacks.on_event {
            let _inside = Inside::enter();
            // SAFETY: the host's promise at registration; the event is valid during the call.
            unsafe { on_event(self.instance, event) };
        }
    }
}

/// An event in which nothing is known but its kind and its worker.
fn event(kind: pointsman_event_kind, worker: u64, slot: usize, role: Role) -> pointsman_event {
    pointsman_event {
        size: size_of::<pointsman_event>() as u32,
        kind,
        worker,
        prefill_worker: worker,
        user_data: 0,
        now: 0,
        dispatched: 0,
        slot: slot as u32,
        role: role.index() as u32,
        work_tokens: 0,
        matched_tokens: 0,
        prompt_tokens: POINTSMAN_UNKNOWN,
        cached_tokens: POINTSMAN_UNKNOWN,
        completion_tokens: POINTSMAN_UNKNOWN,
        outcome: 0,
    }
}

impl RoutingPolicy for OwnPolicy {
    fn name(&self) -> &str {
        &self.made_by.name
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        match candidates.len() {
            0..=16 => self.ask::<16>(candidates, request),
            17..=128 => self.ask::<128>(candidates, request),
            _ => self.ask::<{ pointsman_core::MAX_WORKERS }>(candidates, request),
        }
    }

    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        let (decision, request) = (dispatch.decision, dispatch.request);
        if self.wants(POINTSMAN_POLICY_WANTS_REQUEST_EVENTS) {
            let worker = decision.worker;
            self.tell(&pointsman_event {
                now: request.now.as_nanos(),
                dispatched: request.now.as_nanos(),
                work_tokens: decision.work_tokens,
                matched_tokens: decision.matched_tokens,
                prompt_tokens: request.prompt_tokens,
                ..event(POINTSMAN_EVENT_DISPATCH, worker.to_raw(), worker.slot(), dispatch.role)
            });
        }
    }

    fn on_first_token(&self, first: &FirstToken) {
        if self.wants(POINTSMAN_POLICY_WANTS_REQUEST_EVENTS) {
            let worker = first.worker;
            self.tell(&pointsman_event {
                now: first.now.as_nanos(),
                dispatched: first.dispatched.as_nanos(),
                work_tokens: first.work_tokens,
                matched_tokens: first.matched_tokens,
                cached_tokens: first.cached_tokens.unwrap_or(POINTSMAN_UNKNOWN),
                ..event(POINTSMAN_EVENT_FIRST_TOKEN, worker.to_raw(), worker.slot(), first.role)
            });
        }
    }

    fn on_request_complete(&self, end: &Completion) {
        if self.wants(POINTSMAN_POLICY_WANTS_REQUEST_EVENTS) {
            let role = if end.prefill == Some(end.worker) { Role::Regular } else { Role::Decode };
            let worker = end.worker;
            self.tell(&pointsman_event {
                prefill_worker: end.prefill.map_or(0, |worker| worker.to_raw()),
                now: end.now.as_nanos(),
                dispatched: end.dispatched.as_nanos(),
                work_tokens: end.work_tokens,
                matched_tokens: end.matched_tokens,
                prompt_tokens: end.usage.prompt_tokens.unwrap_or(POINTSMAN_UNKNOWN),
                cached_tokens: end.usage.cached_tokens.unwrap_or(POINTSMAN_UNKNOWN),
                completion_tokens: end.usage.completion_tokens.unwrap_or(POINTSMAN_UNKNOWN),
                outcome: end.outcome.index() as u32,
                ..event(POINTSMAN_EVENT_COMPLETE, worker.to_raw(), worker.slot(), role)
            });
        }
    }

    fn on_worker_added(&self, worker: &WorkerInfo) {
        self.tell_worker(POINTSMAN_EVENT_WORKER_ADDED, worker);
    }

    fn on_worker_changed(&self, worker: &WorkerInfo) {
        self.tell_worker(POINTSMAN_EVENT_WORKER_CHANGED, worker);
    }

    fn on_worker_removed(&self, worker: &WorkerInfo) {
        self.tell_worker(POINTSMAN_EVENT_WORKER_REMOVED, worker);
    }

    fn after_fork(&self) {
        self.tell(&event(POINTSMAN_EVENT_FORKED, 0, 0, Role::Regular));
    }

    fn wants_prefix(&self) -> bool {
        self.wants(POINTSMAN_POLICY_WANTS_PREFIX)
    }

    fn wants_events(&self) -> bool {
        self.made_by.callbacks.flags != 0
    }
}
