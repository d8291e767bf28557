//! Reads the counters into a snapshot.

use super::inner::Inner;
use crate::fleet::policies::Counters;
use crate::metrics::{
    DecisionCount, MetricsSnapshot, PolicyMetrics, ProfileMetrics, ShadowMetrics, TicketMetrics,
    WorkerMetrics,
};
use crate::policy::Reason;
use crate::prefix::PrefixTree;
use crate::prompt::learned::Learned;
use crate::sync::atomic::Ordering::Relaxed;
use crate::worker::{Role, spec::WorkerInfo};

impl Inner {
    /// O(workers + policies); allocates. Counters are read one after another, so a snapshot taken
    /// under load may show a selection whose decision it does not count yet.
    pub(super) fn metrics(&self, now: u64) -> MetricsSnapshot {
        let workers: Vec<WorkerMetrics> = self
            .fleet
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
                contradictory_reports: status.contradictory_reports,
                resident_tokens: status.resident_tokens,
                policy_gauges: self.policy_gauges(&status.info, now),
                info: status.info,
            })
            .collect();
        let view = self.fleet.view();
        MetricsSnapshot {
            decisions: view.policies.counters().flat_map(decisions_of).collect(),
            policies: view.policies.counters().map(sums_of).collect(),
            // One shadow for both modes.
            shadow: view
                .policies
                .plan(Role::Regular)
                .shadow()
                .map(|shadow| shadow_of(&shadow.counters)),
            tree: self.prompts.tree().map(PrefixTree::stats).unwrap_or_default(),
            tickets: TicketMetrics {
                open: self.tickets.open_count(),
                capacity: self.tickets.capacity(),
                untracked: self.untracked.iter().map(|count| count.load(Relaxed)).sum(),
                expired: self.expired.load(Relaxed),
                bytes: self.tickets.bytes(),
            },
            workers,
            profile: self.prompts.learned().map(profile_of),
        }
    }
}

fn profile_of(learned: &Learned) -> ProfileMetrics {
    let [reasoned, plain] = learned.counts();
    ProfileMetrics { history: learned.history(), reasoned, plain }
}

impl Inner {
    fn policy_gauges(&self, info: &WorkerInfo, now: u64) -> Vec<(&'static str, f64)> {
        let mut gauges = Vec::new();
        if let Some(installed) = self.fleet.view().policies.main_of(info.role) {
            installed
                .policy
                .gauges(info.id, now.into(), &mut |name, value| gauges.push((name, value)));
        }
        gauges
    }
}

fn decisions_of(counters: &Counters) -> Vec<DecisionCount> {
    let count = |role, reason| DecisionCount {
        policy: counters.name.clone(),
        arm: counters.arm.as_str(),
        role,
        reason,
        count: counters.iter().map(|stripe| stripe.get(role, reason)).sum(),
    };
    let pairs = Role::ALL.into_iter().flat_map(|role| Reason::ALL.map(|reason| (role, reason)));
    pairs.map(|(role, reason)| count(role, reason)).filter(|row| row.count > 0).collect()
}

fn sums_of(counters: &Counters) -> PolicyMetrics {
    let mut sums = PolicyMetrics {
        policy: counters.name.clone(),
        arm: counters.arm.as_str(),
        ..Default::default()
    };
    counters.iter().for_each(|stripe| stripe.add_to(&mut sums));
    sums
}

fn shadow_of(counters: &Counters) -> ShadowMetrics {
    let mut sums = ShadowMetrics { policy: counters.name.clone(), ..Default::default() };
    counters.shadow.iter().for_each(|stripe| stripe.add_to(&mut sums));
    sums
}
