//! What outcomes and time do to a worker's health.

use super::Fleet;
use super::writer::Writer;
use crate::worker::{
    health::{HealthState, Outcome},
    state::{Standing, WorkerState},
};

impl Fleet {
    /// Takes note of how a request on the worker in this slot ended.
    #[inline]
    pub(crate) fn observe(&self, row: &WorkerState, outcome: Outcome, now: u64) {
        if outcome == Outcome::Success {
            let recovered = row.count_success();
            if recovered > 0 && recovered >= self.health.successes {
                self.note(now);
            }
        } else {
            self.observe_failure(row, outcome, now);
        }
    }

    fn observe_failure(&self, row: &WorkerState, outcome: Outcome, now: u64) {
        row.count_outcome(outcome.index());
        let changes = match outcome {
            Outcome::Overloaded { retry_after } => {
                // A worker that is paused already is only paused for longer: nothing to publish yet.
                row.pause_until(now.saturating_add(self.health.pause(retry_after))) <= now
            }
            Outcome::WorkerError | Outcome::Timeout => {
                let streak = row.count_failure();
                streak >= self.health.failures || row.standing() == Standing::Probation
            }
            _ => false,
        };
        if changes {
            self.note(now);
        }
    }

    /// Notes that a worker's row holds something that is not published yet.
    fn note(&self, now: u64) {
        self.due.note(now);
        self.maintain(now);
    }

    /// Applies what outcomes and time have changed.
    pub(super) fn settle(&self, writer: &mut Writer, now: u64) {
        // Before the rows are read: see `due`. A pause changes a weight and no state, so what was noted
        // is published, whatever the registry says.
        let noted = self.due.begin(now);
        writer.advance(now);
        writer.now = writer.now.max(noted.unwrap_or(0));
        if noted.is_some() || writer.due <= writer.now {
            (0..self.rows.len()).for_each(|slot| self.settle_slot(writer, slot));
            self.publish(writer);
        }
        self.due.by(writer.due);
    }

    fn settle_slot(&self, writer: &mut Writer, slot: usize) {
        let Some(change) = writer.registry.settle(slot, writer.now) else { return };
        if matches!(change.state, HealthState::Ejected { .. }) {
            self.forget_residency(writer, slot);
        }
        if let Some(log) = &self.log {
            log.note(change);
        }
    }

    pub(super) fn tell_health(&self) {
        if let Some(log) = &self.log {
            log.tell();
        }
    }
}
