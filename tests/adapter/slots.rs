//! More URLs than slots, from many threads: a slot goes to another worker only when no request of the
//! one that had it is open.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pointsman::adapter::{Adapter, RoutingPolicy};
use pointsman::{
    Reason, RoutingError, WorkerId, WorkerInfo,
    policy::{Candidates, Completion, Decision, Dispatch, FirstToken, RequestView},
};
use serde_json::json;

use crate::engine::{complete, engines, ready};

/// Draws at random, and holds the adapter to what it owes a policy.
#[derive(Default)]
struct Strict {
    /// Open requests by worker.
    open: Mutex<HashMap<WorkerId, i64>>,
    /// The holder of each slot.
    slots: Mutex<HashMap<usize, WorkerId>>,
    complaints: Mutex<Vec<String>>,
    removed: Mutex<u64>,
}

impl Strict {
    fn expect(&self, holds: bool, what: &str) {
        if !holds {
            self.complaints.lock().push(what.to_owned());
        }
    }

    fn add(&self, worker: WorkerId, change: i64, what: &str) {
        let mut open = self.open.lock();
        let count = open.get_mut(&worker).map(|count| {
            *count += change;
            *count
        });
        drop(open);
        self.expect(count.is_some_and(|count| count >= 0), what);
    }
}

impl pointsman::RoutingPolicy for Strict {
    fn name(&self) -> &str {
        "strict"
    }

    fn select_single(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'_>,
    ) -> Result<Decision, RoutingError> {
        let nth = request.now.as_nanos() as usize % candidates.len().max(1);
        let chosen = candidates.iter().nth(nth).ok_or_else(|| candidates.none())?;
        Ok(Decision::new(chosen.id(), Reason::Custom))
    }

    fn on_dispatch(&self, dispatch: &Dispatch<'_>) {
        self.add(dispatch.decision.worker, 1, "dispatch to a worker that is not registered");
    }

    fn on_first_token(&self, event: &FirstToken) {
        self.add(event.worker, -1, "first token of a worker that is not registered");
    }

    fn on_request_complete(&self, event: &Completion) {
        self.add(event.worker, -1, "completion of a worker that is not registered");
        let prefill = event.prefill.filter(|&prefill| prefill != event.worker);
        if let Some(prefill) = prefill.filter(|_| !event.first_token_seen) {
            self.add(prefill, -1, "completion of a prefill worker that is not registered");
        }
    }

    fn on_worker_added(&self, worker: &WorkerInfo) {
        let before = self.slots.lock().insert(worker.id.slot(), worker.id);
        self.expect(before.is_none(), "a slot that is taken");
        self.open.lock().insert(worker.id, 0);
    }

    fn on_worker_removed(&self, worker: &WorkerInfo) {
        *self.removed.lock() += 1;
        let holder = self.slots.lock().remove(&worker.id.slot());
        self.expect(holder == Some(worker.id), "removal of another worker");
        let open = self.open.lock().remove(&worker.id);
        self.expect(open == Some(0), "removal of a worker with open requests");
    }
}

#[test]
fn slots_change_hands_without_mixing_up_their_workers() {
    let strict = Arc::new(Strict::default());
    let adapter = Adapter::new(strict.clone());
    let request = json!({});
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (adapter, request) = (&adapter, &request);
            scope.spawn(move || {
                for round in 0..12 {
                    let (_, own) = engines(&format!("http://{thread}/{round}/"), 150);
                    // Two threads at a time meet at the same workers.
                    let (_, shared) = engines(&format!("http://shared/{round}/"), 50);
                    for _ in 0..100 {
                        let a = ready(adapter.select_single(&own, request)).unwrap();
                        let (p, d) = ready(adapter.select_pair(&own, &shared, request)).unwrap();
                        let (first, second) = if round % 2 == 0 { (&p, &d) } else { (&d, &p) };
                        complete(adapter, &[&a, first, second]);
                    }
                }
            });
        }
    });
    let complaints = std::mem::take(&mut *strict.complaints.lock());
    assert!(complaints.is_empty(), "{} complaints: {:?}", complaints.len(), complaints[0]);
    assert!(*strict.removed.lock() > 1000);
    let left: Vec<i64> = strict.open.lock().values().copied().filter(|&open| open != 0).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn workers_beyond_the_slots_are_left_out() {
    let adapter = Adapter::new(Arc::new(Strict::default()));
    let (engines, workers) = engines("http://w", 1100);
    for _ in 0..50 {
        let worker = ready(adapter.select_single(&workers, &json!({}))).unwrap();
        adapter.on_request_complete(worker.url(), true);
    }
    assert!(engines.iter().all(|engine| engine.in_flight() == 0));
    // A slot that is free again is given to one that had none.
    let last = ready(adapter.select_single(&workers[1090..], &json!({}))).unwrap();
    assert!(last.url() >= "http://w1090");
}
