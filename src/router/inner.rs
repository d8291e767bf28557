//! All of one router: fleet, prompts and tickets, and what is counted for them.

use std::sync::Arc;
use std::time::Instant;

use super::config::{RouterConfig, SplitConfig};
use super::decision_log::DecisionLog;
use crate::fleet::{Fleet, due::Due, health_log::HealthLog, room::Room};
use crate::policy::error::ConfigError;
use crate::policy::{PolicyConfig, PolicyFactory, RoutingPolicy as _, random::RandomPolicy};
use crate::pool::{MAX_WORKERS, error::PoolError, registry::Registry};
use crate::prompt::PromptReader;
use crate::random::Random;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::stripe::{Place, Striped};
use crate::ticket::Tickets;
use crate::worker::{WorkerId, state::WorkerState};

/// A router's parts, and the references that selections take to them.
pub(super) struct Shared {
    pub(super) inner: Arc<Inner>,
    /// A reference count of its own for each stripe, so that threads do not share its cache line.
    handles: Striped<Handle>,
}

/// Keeps a router alive as long as one of its selections exists.
pub(super) type Handle = Arc<Arc<Inner>>;

impl Shared {
    pub(super) fn new(inner: Inner) -> Self {
        let inner = Arc::new(inner);
        let handles = Striped::new(|_| Arc::new(Arc::clone(&inner)));
        Shared { inner, handles }
    }

    #[inline]
    pub(super) fn handle(&self, stripe: Place) -> Handle {
        Arc::clone(self.handles.of(stripe.any()))
    }
}

/// What all clones of a router share.
pub(super) struct Inner {
    pub(super) fleet: Fleet,
    pub(super) prompts: Arc<PromptReader>,
    pub(super) tickets: Tickets,
    /// Nanoseconds after which an open ticket expires, unless renewed.
    pub(super) deadline: u64,
    /// When the next part of the ticket table is to be swept, and which.
    pub(super) sweep_due: Due,
    pub(super) sweep_part: AtomicU64,
    /// Requests answered without a ticket because the table was full.
    pub(super) untracked: Striped<AtomicU64>,
    /// Tickets closed because no host completed them.
    pub(super) expired: AtomicU64,
    /// Decides for requests that cannot be tracked.
    pub(super) fallback: RandomPolicy,
    pub(super) random: Random,
    pub(super) log: Option<DecisionLog>,
    pub(super) started: Instant,
}

impl Inner {
    pub(super) fn new(
        config: &RouterConfig,
        factory: PolicyFactory,
        log: Option<DecisionLog>,
        health_log: Option<HealthLog>,
        room: Room,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let slots = slots_for(config.max_workers);
        let rows: Arc<[WorkerState]> = (0..slots).map(|_| WorkerState::new()).collect();
        let health = config.health.clone();
        let registry = Registry::new(rows, config.max_workers, health, config.slow_start());
        let body = config.body.options(config.tree.block()?);
        let prompts = PromptReader::new(config.tree.key()?, body);
        let prompts = Arc::new(prompts.with_tree(config.tree.budget_bytes, slots)?);
        let tickets = Tickets::new(config.max_tickets, prompts.tree().is_some());
        let deadline = config.ticket_deadline();
        // The whole table is swept eight times within one deadline.
        let every = (deadline / 8 / tickets.parts() as u64).max(1);
        let fleet = Fleet::new(registry, factory, Arc::clone(&prompts), health_log, room, every);
        let inner = Inner {
            fleet,
            prompts,
            tickets,
            deadline,
            sweep_due: Due::new(every),
            sweep_part: AtomicU64::new(0),
            untracked: Striped::new(|_| AtomicU64::new(0)),
            expired: AtomicU64::new(0),
            fallback: RandomPolicy::new(config.seed),
            random: Random::new(config.seed),
            log,
            started: Instant::now(),
        };
        let (prefill, decode) = (config.prefill_policy.as_ref(), config.decode_policy.as_ref());
        inner.set_policies(&config.policy, prefill, decode)?;
        inner.set_split(config.split.as_ref())?;
        inner.set_shadow(config.shadow.as_ref())?;
        Ok(inner)
    }

    /// Nanoseconds since the router was made.
    #[inline]
    pub(super) fn clock(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// One bounded step of maintenance: a part of the ticket table, and what outcomes and time have
    /// changed.
    #[cold]
    pub(super) fn maintain(&self, now: u64) {
        if self.sweep_due.claim(now) {
            let part = self.sweep_part.fetch_add(1, Relaxed) % self.tickets.parts() as u64;
            self.sweep(part as usize, now);
        }
        self.fleet.maintain(now);
    }

    /// All of it at once.
    pub(super) fn tick(&self, now: u64) {
        self.sweep_all(now);
        self.fleet.maintain(now);
        self.fleet.renew(|policy| self.tickets.in_use(policy));
    }

    pub(super) fn remove_worker(&self, id: WorkerId, now: u64) -> Result<(), PoolError> {
        self.fleet.remove(id, now, || self.sweep_all(now))
    }

    pub(super) fn set_policies(
        &self,
        policy: &PolicyConfig,
        prefill: Option<&PolicyConfig>,
        decode: Option<&PolicyConfig>,
    ) -> Result<(), ConfigError> {
        self.fleet.set_policies(policy, prefill, decode, |policy| self.tickets.in_use(policy))
    }

    pub(super) fn set_split(&self, split: Option<&SplitConfig>) -> Result<(), ConfigError> {
        split.map_or(Ok(()), SplitConfig::check)?;
        let split = split.map(|split| (&split.policy, split.share));
        self.fleet.set_split(split, |policy| self.tickets.in_use(policy))
    }

    pub(super) fn set_shadow(&self, shadow: Option<&PolicyConfig>) -> Result<(), ConfigError> {
        self.fleet.set_shadow(shadow, |policy| self.tickets.in_use(policy))
    }

    pub(super) fn count_untracked(&self) {
        self.untracked.mine().fetch_add(1, Relaxed);
    }

    pub(super) fn after_fork(&self) {
        self.random.reseed();
        self.fallback.after_fork();
        self.tickets.clear();
        self.fleet.after_fork();
    }
}

/// A removed worker's slot rests until its last request is undone, so there are a few more slots
/// than workers; never more than a slot set can hold.
fn slots_for(max_workers: usize) -> usize {
    (max_workers + max_workers / 8 + 8).min(MAX_WORKERS)
}
