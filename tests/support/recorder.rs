//! A policy from outside the crate that notes what it is told.

#![allow(dead_code)]

use std::sync::Arc;

use parking_lot::Mutex;
use pointsman::{
    Outcome, Reason, Role, RoutingError, RoutingPolicy, WorkerInfo,
    policy::{Candidates, Completion, Decision, Dispatch, FirstToken, RequestView},
};

/// What a policy was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Added(String),
    Removed(String),
    Dispatch(Role, u32),
    FirstToken(u32),
    End { outcome: Outcome, work: u32, matched: u32, first_token_seen: bool, ordered: bool },
}

/// A policy from outside the crate: always the first candidate; numbers its decisions.
pub struct Recorder {
    events: Mutex<Vec<Event>>,
    decisions: Mutex<u32>,
}

impl Recorder {
    pub fn new() -> Arc<Recorder> {
        Arc::new(Recorder { events: Mutex::default(), decisions: Mutex::new(0) })
    }

    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock())
    }

    fn note(&self, event: Event) {
        self.events.lock().push(event);
    }
}

/// The end of the request of this number.
pub fn end(outcome: Outcome, work: u32, first_token_seen: bool) -> Event {
    Event::End { outcome, work, matched: work + 1000, first_token_seen, ordered: true }
}

impl RoutingPolicy for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        _request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let first = candidates.iter().next().ok_or_else(|| candidates.none())?;
        let mut number = self.decisions.lock();
        let mut decision = Decision::new(first.id(), Reason::Custom);
        (decision.work_tokens, decision.matched_tokens) = (*number, *number + 1000);
        *number += 1;
        Ok(decision)
    }

    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        self.note(Event::Dispatch(dispatch.role, dispatch.decision.work_tokens));
    }

    fn on_first_token(&self, event: &FirstToken) {
        self.note(Event::FirstToken(event.work_tokens));
    }

    fn on_request_complete(&self, event: &Completion) {
        self.note(Event::End {
            outcome: event.outcome,
            work: event.work_tokens,
            matched: event.matched_tokens,
            first_token_seen: event.first_token_seen,
            ordered: event.dispatched <= event.now,
        });
    }

    fn on_worker_added(&self, worker: &WorkerInfo) {
        self.note(Event::Added(worker.url.clone()));
    }

    fn on_worker_removed(&self, worker: &WorkerInfo) {
        self.note(Event::Removed(worker.url.clone()));
    }

    fn wants_events(&self) -> bool {
        true
    }
}
