//! What a request holds of a worker: its place in the adapter's row, and in the host's own counter.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::worker::{WorkerId, proposal::Worker, state::WorkerState};

/// What a request holds of a worker. Given back when dropped, also when a policy panics.
pub(super) struct Held<'a> {
    pub(super) row: &'a WorkerState,
    pub(super) resident: u64,
    pub(super) load: Option<&'a AtomicUsize>,
}

impl<'a> Held<'a> {
    /// Charges the row of a slot.
    pub(super) fn new(row: &'a WorkerState, resident: u64) -> Self {
        // The rows of an adapter have no limit that could refuse the charge.
        row.charge(resident);
        Held { row, resident, load: None }
    }

    /// Whether the slot is still this worker's. If so, it stays that as long as it is charged.
    pub(super) fn is_of(&self, worker: WorkerId) -> bool {
        self.row.generation() == worker.generation()
    }

    /// Charges the host's own counter, too.
    pub(super) fn raise(&mut self, worker: &'a dyn Worker) {
        let load = worker.load();
        load.fetch_add(1, Relaxed);
        self.load = Some(load);
    }

    /// Leaves the charge to the open request, which is closed with the same KV tokens.
    pub(super) fn keep(self) -> u64 {
        let resident = self.resident;
        std::mem::forget(self);
        resident
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(load) = self.load {
            // Fails where the host has reset it to 0 meanwhile.
            let _ = load.fetch_update(Relaxed, Relaxed, |load| load.checked_sub(1));
        }
        self.row.release(self.resident);
    }
}
