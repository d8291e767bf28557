//! Reads the counters into a snapshot.

use super::core::Core;
use super::policies::Ledger;
use crate::metrics::{
    DecisionCount, MetricsSnapshot, PolicyMetrics, ShadowMetrics, TicketMetrics, WorkerMetrics,
};
use crate::policy::Reason;
use crate::sync::atomic::Ordering::Relaxed;
use crate::worker::{Role, spec::WorkerInfo};

impl Core {
    /// O(workers + policies); allocates. Counters are read one after the other, so a snapshot taken
    /// under load may show a selection whose decision it does not count yet.
    pub(super) fn metrics(&self, now: u64) -> MetricsSnapshot {
        let workers: Vec<WorkerMetrics> = self
            .statuses(now)
            .into_iter()
            .map(|status| WorkerMetrics {
                healthy: status.healthy,
                draining: status.draining,
                weight: status.effective_weight,
                in_flight: status.in_flight,
                selections: status.selections,
                outcomes: status.outcomes,
                predicted_cached_tokens: status.predicted_cached_tokens,
                reported_cached_tokens: status.reported_cached_tokens,
                resident_tokens: status.resident_tokens,
                policy_gauges: self.policy_gauges(&status.info, now),
                info: status.info,
            })
            .collect();
        let view = self.view();
        MetricsSnapshot {
            decisions: view
                .policies
                .ledgers
                .iter()
                .flat_map(|ledger| decisions_of(ledger))
                .collect(),
            policies: view.policies.ledgers.iter().map(|ledger| sums_of(ledger)).collect(),
            // The same one watches both modes.
            shadow: view.policies.shadow(Role::Regular).map(|watching| shadow_of(&watching.ledger)),
            tree: self.tree.stats(),
            tickets: TicketMetrics {
                open: self.tickets.open_count(),
                capacity: self.tickets.capacity(),
                untracked: self.untracked.iter().map(|count| count.load(Relaxed)).sum(),
                expired: self.expired.load(Relaxed),
                bytes: self.tickets.bytes(),
            },
            workers,
        }
    }
}

impl Core {
    fn policy_gauges(&self, info: &WorkerInfo, now: u64) -> Vec<(&'static str, f64)> {
        let mut gauges = Vec::new();
        if let Some(installed) = self.view().policies.main_of(info.role) {
            installed.policy.gauges(info.id, now, &mut |name, value| gauges.push((name, value)));
        }
        gauges
    }
}

fn decisions_of(ledger: &Ledger) -> Vec<DecisionCount> {
    let count = |role, reason| DecisionCount {
        policy: ledger.name.clone(),
        arm: ledger.arm.as_str(),
        role,
        reason,
        count: ledger.decisions.iter().map(|stripe| stripe.get(role, reason)).sum(),
    };
    let pairs = Role::ALL.into_iter().flat_map(|role| Reason::ALL.map(|reason| (role, reason)));
    pairs.map(|(role, reason)| count(role, reason)).filter(|row| row.count > 0).collect()
}

fn sums_of(ledger: &Ledger) -> PolicyMetrics {
    let mut sums = PolicyMetrics {
        policy: ledger.name.clone(),
        arm: ledger.arm.as_str(),
        ..Default::default()
    };
    ledger.decisions.iter().for_each(|stripe| stripe.add_to(&mut sums));
    sums
}

fn shadow_of(ledger: &Ledger) -> ShadowMetrics {
    let mut sums = ShadowMetrics { policy: ledger.name.clone(), ..Default::default() };
    ledger.shadow.iter().for_each(|stripe| stripe.add_to(&mut sums));
    sums
}
