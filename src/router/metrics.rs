//! Reads the counters into a snapshot.

use super::core::Core;
use crate::metrics::{DecisionCount, MetricsSnapshot, TicketMetrics, WorkerMetrics};
use crate::policy::Reason;
use crate::sync::atomic::Ordering::Relaxed;
use crate::worker::{Role, health::Outcome};

impl Core {
    /// O(workers + policies); allocates. Counters are read one after the other, so a snapshot taken
    /// under load may show a selection whose decision it does not count yet.
    pub(super) fn metrics(&self, now: u64) -> MetricsSnapshot {
        let workers: Vec<WorkerMetrics> = self
            .statuses(now)
            .into_iter()
            .filter_map(|status| {
                let row = self.rows.get(status.info.id.slot())?;
                let (predicted_cached_tokens, reported_cached_tokens) = row.cached();
                Some(WorkerMetrics {
                    healthy: status.healthy,
                    draining: status.draining,
                    weight: status.effective_weight,
                    in_flight: row.in_flight(),
                    selections: row.selections(),
                    outcomes: row.outcomes(),
                    predicted_cached_tokens,
                    reported_cached_tokens,
                    resident_tokens: row.resident_tokens(),
                    info: status.info,
                })
            })
            .collect();
        let expired = workers.iter().map(|w| w.outcomes[Outcome::Expired.index()]).sum();
        MetricsSnapshot {
            decisions: self.decisions(),
            tree: self.tree.stats(),
            tickets: TicketMetrics {
                open: self.tickets.open_count(),
                capacity: self.tickets.capacity(),
                untracked: self.untracked.iter().map(|count| count.load(Relaxed)).sum(),
                expired,
                bytes: self.tickets.bytes(),
            },
            workers,
        }
    }

    fn decisions(&self) -> Vec<DecisionCount> {
        let view = self.view();
        let mut counts = Vec::new();
        for installed in view.policies.iter() {
            for role in Role::ALL {
                for reason in Reason::ALL {
                    let count = installed.decisions.iter().map(|d| d.get(role, reason)).sum();
                    if count > 0 {
                        let policy = installed.policy.name().to_owned();
                        counts.push(DecisionCount { policy, role, reason, count });
                    }
                }
            }
        }
        counts
    }
}
