//! The writer's side of the fleet: a plain value under one lock.

use std::sync::Arc;

use super::due::CLOCK_SLACK;
use super::policies::Policies;
use super::view::View;
use crate::policy::factory::PolicyFactory;
use crate::pool::registry::Registry;
use crate::sync::atomic::{Ordering::Acquire, fence};

/// The registered workers, the installed policies, and what was published before.
pub(super) struct Writer {
    pub(super) registry: Registry,
    pub(super) policies: Policies,
    pub(super) factory: PolicyFactory,
    /// The latest known time: the clock of changes made without a timestamp. Goes
    /// back only where a host's clock does, by more than [`CLOCK_SLACK`].
    pub(super) now: u64,
    /// When time alone changes what is published.
    pub(super) due: u64,
    /// Replaced views that a request may still be reading: freed here, never by a request.
    pub(super) replaced: Vec<Arc<View>>,
}

impl Writer {
    pub(super) fn new(registry: Registry, factory: PolicyFactory) -> Self {
        Writer {
            registry,
            policies: Policies::default(),
            factory,
            now: 0,
            due: u64::MAX,
            replaced: Vec::new(),
        }
    }

    /// Notes the time. After a jump ahead and back, ejections, pauses and slow starts last as long as
    /// they had left, instead of until the time of the jump.
    pub(super) fn advance(&mut self, now: u64) {
        if now.saturating_add(CLOCK_SLACK) < self.now {
            self.registry.turn_back(self.now - now);
            (self.now, self.due) = (now, now);
        }
        self.now = self.now.max(now);
    }

    /// The view of this moment.
    pub(super) fn view(&self, version: u64) -> Arc<View> {
        let pool = self.registry.snapshot(self.now);
        Arc::new(View { version, pool, policies: self.policies.clone() })
    }

    /// Keeps a replaced view for as long as a request reads it.
    pub(super) fn retire(&mut self, replaced: Arc<View>) {
        self.replaced.push(replaced);
        self.free_replaced();
        self.due = self.registry.next_due(self.now);
    }

    /// Frees the replaced views that no request reads any more.
    pub(super) fn free_replaced(&mut self) {
        // No request can take a new reference to a replaced view, so a count of one stays one.
        self.replaced.retain(|view| Arc::strong_count(view) > 1);
        // Pairs with the release of the last reader's reference: what it did before is seen here.
        fence(Acquire);
    }
}
