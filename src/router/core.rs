//! The shared state: one published snapshot that requests read, and the writer's side behind a lock.
//!
//! Requests read the snapshot once ([`local`](super::local)) and never lock. Whoever changes membership, health, weight or
//! policy takes the writer lock, changes the registry, and publishes a new snapshot. Requests that
//! bring about such a change (the third failure in a row) mark the slot and *try* the lock; if
//! somebody holds it, that one finds the mark when it lets go.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::config::RouterConfig;
use super::explain::DecisionLog;
use super::local::Local;
use super::marks::Marks;
use super::policies::Policies;
use super::ticket::Tickets;
use super::watch::HealthWatch;
use crate::body::BodyOptions;
use crate::error::{ConfigError, PoolError};
use crate::exclusive::Exclusive;
use crate::policy::{RoutingPolicy, factory::PolicyFactory, random::RandomPolicy};
use crate::pool::{
    registry::{Registry, WorkerStatus},
    snapshot::PoolSnapshot,
};
use crate::prefix::{BlockSize, Digest, HashKey, PrefixTree, Registration};
use crate::random::Random;
use crate::stripe::Striped;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use crate::worker::{
    WorkerId,
    health::{HealthConfig, HealthState},
    spec::{WorkerInfo, WorkerSpec},
    state::{LoadReport, WorkerState},
};

/// Domains of the keyed digests, so that equal bytes with different meanings differ.
pub(super) const NAMESPACE: u8 = 1;
pub(crate) const URL: u8 = 2;
pub(super) const ROUTING_KEY: u8 = 3;
const SECOND: f64 = 1e9;
/// Tokens of KV cache counted for an answer whose length nobody expects anything of.
pub(crate) const DEFAULT_OUTPUT_TOKENS: u32 = 256;

pub(crate) struct Core {
    pub(super) view: ArcSwap<View>,
    /// Of the view.
    pub(super) version: AtomicU64,
    pub(super) locals: Exclusive<Local>,
    pub(super) rows: Arc<[WorkerState]>,
    pub(super) tickets: Tickets,
    pub(super) tree: PrefixTree,
    pub(super) key: HashKey,
    pub(super) block: BlockSize,
    pub(super) body: BodyOptions,
    pub(super) health: HealthConfig,
    /// Nanoseconds an open ticket lives without a sign of life.
    pub(super) deadline: u64,
    /// Requests answered without a ticket because the table was full.
    pub(super) untracked: Striped<AtomicU64>,
    /// Tickets closed because nobody completed them.
    pub(super) expired: AtomicU64,
    pub(super) log: Option<DecisionLog>,
    watch: Option<HealthWatch>,
    pub(super) random: Random,
    /// Decides for requests that cannot be tracked.
    pub(super) fallback: RandomPolicy,
    /// Bytes of prompt text per token, as an `f32`; learned from reported usage.
    pub(super) bytes_per_token: AtomicU32,
    /// Length of an answer in tokens, as an `f32`; learned from reported usage.
    pub(super) answer_tokens: AtomicU32,
    /// When the next housekeeping is due.
    pub(super) wake_at: AtomicU64,
    /// The part of the ticket table that is swept next.
    pub(super) sweep_part: AtomicU64,
    /// When that is due.
    pub(super) sweep_at: AtomicU64,
    /// Nanoseconds from one such look to the next.
    sweep_every: u64,
    marks: Marks,
    writer: Mutex<Writer>,
    started: Instant,
}

/// What requests read: membership, health and policies of one moment.
pub(super) struct View {
    pub(super) version: u64,
    pub(super) pool: PoolSnapshot,
    pub(super) policies: Policies,
}

/// The writer's side.
pub(super) struct Writer {
    pub(super) registry: Registry,
    pub(super) policies: Policies,
    pub(super) factory: PolicyFactory,
    /// The latest time that any change was told: the clock of changes that are not told a time. Goes
    /// back only where a host's clock does, by more than [`CLOCK_SLACK`].
    now: u64,
    /// When time alone changes the membership's snapshot.
    due: u64,
    /// Snapshots that a request may still be reading: freed here, never by a request.
    old: Vec<Arc<View>>,
}

/// How far behind each other threads may read one clock, in nanoseconds. A time further back than that
/// says that the clock was set back.
pub(super) const CLOCK_SLACK: u64 = 60 * 1_000_000_000;

impl Writer {
    /// Takes note of the time. After a jump ahead and back, ejections, pauses and slow starts go on for
    /// as long as they had left, instead of waiting for the time of the jump to come.
    fn advance(&mut self, now: u64) {
        if now.saturating_add(CLOCK_SLACK) < self.now {
            self.registry.turn_back(self.now - now);
            (self.now, self.due) = (now, now);
        }
        self.now = self.now.max(now);
    }

    /// Frees the replaced snapshots that nobody reads any more, and hands out the rest.
    pub(super) fn still_read(&mut self) -> &[Arc<View>] {
        // Nobody can take a new reference to a replaced snapshot, so a count of one stays one.
        self.old.retain(|old| Arc::strong_count(old) > 1);
        // Pairs with the release of the last reader's reference: what it did before is seen here.
        fence(Acquire);
        &self.old
    }
}

impl Core {
    pub(super) fn new(
        config: &RouterConfig,
        factory: PolicyFactory,
        log: Option<DecisionLog>,
        watch: Option<HealthWatch>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let rows: Arc<[WorkerState]> =
            (0..slots_for(config.max_workers)).map(|_| WorkerState::new()).collect();
        let key = match config.tree.key_bytes()? {
            Some(bytes) => HashKey::from_bytes(bytes),
            None => HashKey::random(),
        };
        let registry = Registry::new(
            Arc::clone(&rows),
            config.max_workers,
            config.health.clone(),
            (config.slow_start_secs * SECOND) as u64,
        );
        let block = BlockSize::new(usize::from(config.tree.block_bytes))
            .map_err(|error| ConfigError::Document(error.to_string()))?;
        let deadline = (config.ticket_deadline_secs * SECOND) as u64;
        let view = Arc::new(View {
            version: 0,
            pool: PoolSnapshot::default(),
            policies: Policies::default(),
        });
        let tickets = Tickets::new(config.max_tickets);
        // The whole table is swept eight times within one deadline.
        let sweep_every = (deadline / 8 / tickets.parts() as u64).max(1);
        let core = Core {
            locals: Exclusive::new(|stripe| Local { stripe, view: Arc::clone(&view) }),
            view: ArcSwap::new(view),
            version: AtomicU64::new(0),
            tickets,
            tree: PrefixTree::new(config.tree.budget_bytes, rows.len())
                .map_err(|error| ConfigError::Document(format!("tree.budget_bytes: {error}")))?,
            rows,
            key,
            block,
            body: config.body.options(block),
            health: config.health.clone(),
            deadline,
            untracked: Striped::new(|_| AtomicU64::new(0)),
            expired: AtomicU64::new(0),
            log,
            watch,
            random: Random::new(config.seed),
            fallback: RandomPolicy::new(config.seed),
            bytes_per_token: AtomicU32::new(4f32.to_bits()),
            answer_tokens: AtomicU32::new((DEFAULT_OUTPUT_TOKENS as f32).to_bits()),
            wake_at: AtomicU64::new(0),
            sweep_part: AtomicU64::new(0),
            sweep_at: AtomicU64::new(0),
            sweep_every,
            marks: Marks::new(),
            writer: Mutex::new(Writer {
                registry,
                policies: Policies::default(),
                factory,
                now: 0,
                due: u64::MAX,
                old: Vec::new(),
            }),
            started: Instant::now(),
        };
        core.set_policies(
            &config.policy,
            config.prefill_policy.as_ref(),
            config.decode_policy.as_ref(),
        )?;
        core.set_split(config.split.as_ref())?;
        core.set_shadow(config.shadow.as_ref())?;
        Ok(core)
    }

    /// Nanoseconds since the router was made.
    #[inline]
    pub(super) fn clock(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    #[inline]
    pub(super) fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    pub(super) fn bytes_per_token(&self) -> f32 {
        f32::from_bits(self.bytes_per_token.load(Relaxed))
    }

    /// The length that an answer is expected to have where the request does not say.
    #[inline]
    pub(super) fn answer_tokens(&self) -> u32 {
        f32::from_bits(self.answer_tokens.load(Relaxed)) as u32
    }

    pub(super) fn add_worker(&self, spec: WorkerSpec, now: u64) -> Result<WorkerId, PoolError> {
        self.write(Some(now), |core, writer| {
            let now = writer.now;
            let info = writer.registry.add(spec, now, |slot, spec| {
                let residency = core.begin_residency(slot, spec.kv_capacity_tokens);
                (core.digest(URL, spec.url.as_bytes()), residency)
            })?;
            let tell = catch_unwind(AssertUnwindSafe(|| {
                for installed in writer.policies.iter() {
                    installed.policy.on_worker_added(&info);
                }
            }));
            // A worker that a policy panics about is not added: registered and never published, it would
            // be refused as a duplicate the next time.
            tell.or_else(|panic| {
                core.expel(writer, info.id)?;
                resume_unwind(panic)
            })
            .map(|()| info.id)
        })
    }

    /// Takes a worker out of the registry, for requests, too; publishes that.
    fn expel(&self, writer: &mut Writer, id: WorkerId) -> Result<Arc<WorkerInfo>, PoolError> {
        let info = writer.registry.remove(id)?;
        self.publish(writer);
        // After publishing: a request that finds its worker gone reads a snapshot without it when it
        // tries again.
        if let Some(row) = self.rows.get(id.slot()) {
            row.vacate();
        }
        self.tree.unregister(id.slot() as u16);
        Ok(info)
    }

    fn begin_residency(
        &self,
        slot: usize,
        kv_capacity_tokens: Option<u64>,
    ) -> Option<Registration> {
        self.tree.register(slot as u16, kv_capacity_tokens.map(|tokens| self.blocks(tokens)))
    }

    /// A worker that was down has probably lost its cache: nothing is believed of it any more.
    fn forget_residency(&self, writer: &mut Writer, slot: usize) {
        let begin = |info: &WorkerInfo| self.begin_residency(slot, info.kv_capacity_tokens);
        writer.registry.begin_residency(slot, begin);
    }

    /// Takes the host's word on a worker's health.
    pub(super) fn set_health(&self, id: WorkerId, health: Option<bool>) -> Result<(), PoolError> {
        self.write(None, |core, writer| {
            writer.registry.set_health(id, health)?;
            if health == Some(false) {
                core.forget_residency(writer, id.slot());
            }
            Ok(())
        })
    }

    /// A keyed digest, equal in routers that share the key.
    pub(super) fn digest(&self, domain: u8, bytes: &[u8]) -> u64 {
        let mut digest = Digest::new(&self.key, domain);
        digest.push(bytes);
        digest.finish()
    }

    /// Blocks that hold this many tokens. A token counts four bytes, in text as in tokens.
    fn blocks(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(4) / self.block.bytes() as u64
    }

    pub(super) fn remove_worker(&self, id: WorkerId, now: u64) -> Result<(), PoolError> {
        let info = self.locked(|core, writer| {
            writer.advance(now);
            core.expel(writer, id)
        })?;
        // The slot's generation has changed, so whoever opens a ticket on it from here on closes it
        // again; the ones opened before are found here.
        self.sweep_all(now);
        for installed in self.view().policies.iter() {
            installed.policy.on_worker_removed(&info);
        }
        Ok(())
    }

    /// Changes one worker's entry and publishes the result.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut Registry) -> Result<(), PoolError>,
    ) -> Result<(), PoolError> {
        self.write(None, |_, writer| change(&mut writer.registry))
    }

    pub(super) fn report_load(&self, id: WorkerId, load: &LoadReport) -> Result<(), PoolError> {
        self.locked(|core, writer| {
            writer.registry.check(id)?;
            if let Some(row) = core.rows.get(id.slot()) {
                row.store_report(load);
            }
            Ok(())
        })
    }

    pub(super) fn info(&self, id: WorkerId) -> Option<Arc<WorkerInfo>> {
        self.view().pool.info(id.slot()).filter(|info| info.id == id).map(Arc::clone)
    }

    pub(super) fn by_url(&self, url: &str) -> Option<WorkerId> {
        self.locked(|_, writer| writer.registry.by_url(url))
    }

    pub(super) fn statuses(&self, now: u64) -> Vec<WorkerStatus> {
        self.locked(|_, writer| writer.registry.statuses(now))
    }

    /// Marks a slot whose health may have changed at this time.
    pub(super) fn mark(&self, slot: u16, now: u64) {
        self.marks.mark(slot, now);
    }

    /// Applies what outcomes and time have brought about, unless another thread is at it: that one
    /// looks for marks again after it has let the lock go, so none is left behind.
    pub(super) fn settle(&self, now: u64) {
        self.marks.settle(|| self.writer.try_lock(), |writer| self.settle_locked(writer, now));
        self.tell_health();
    }

    fn tell_health(&self) {
        if let Some(watch) = &self.watch {
            watch.tell();
        }
    }

    /// Applies what outcomes and time have brought about for one slot.
    fn settle_slot(&self, writer: &mut Writer, slot: usize, now: u64) {
        let Some(change) = writer.registry.settle(slot, now) else { return };
        if matches!(change.state, HealthState::Ejected { .. }) {
            self.forget_residency(writer, slot);
        }
        if let Some(watch) = &self.watch {
            watch.note(change);
        }
    }

    fn settle_locked(&self, writer: &mut Writer, now: u64) {
        let mut changed = false;
        writer.advance(now);
        for (first, mut bits) in self.marks.take() {
            writer.now = writer.now.max(self.marks.time());
            let now = writer.now;
            while bits != 0 {
                self.settle_slot(writer, first + bits.trailing_zeros() as usize, now);
                // Also where the registry sees no change: a pause has lowered the weight.
                changed = true;
                bits &= bits - 1;
            }
        }
        let now = writer.now;
        if writer.due <= now {
            for slot in 0..self.rows.len() {
                self.settle_slot(writer, slot, now);
            }
            changed = true;
        }
        if changed {
            self.publish(writer);
        }
    }

    pub(super) fn write<T, E>(
        &self,
        now: Option<u64>,
        change: impl FnOnce(&Core, &mut Writer) -> Result<T, E>,
    ) -> Result<T, E> {
        self.locked(|core, writer| {
            if let Some(now) = now {
                writer.advance(now);
            }
            let done = change(core, writer)?;
            core.publish(writer);
            Ok(done)
        })
    }

    /// Does this under the writer lock, and then what others have left to whoever holds it.
    fn locked<T>(&self, work: impl FnOnce(&Core, &mut Writer) -> T) -> T {
        let mut writer = self.writer.lock();
        let done = work(self, &mut writer);
        let now = writer.now;
        drop(writer);
        self.settle_marks(now);
        done
    }

    fn publish(&self, writer: &mut Writer) {
        let now = writer.now;
        // Only whoever holds the writer changes the version.
        let version = self.version.load(Relaxed) + 1;
        let view = Arc::new(View {
            version,
            pool: writer.registry.snapshot(now),
            policies: writer.policies.clone(),
        });
        writer.old.push(self.view.swap(Arc::clone(&view)));
        self.version.store(version, Release);
        for mut local in self.locals.enter_each() {
            local.view = Arc::clone(&view);
        }
        writer.still_read();
        writer.due = writer.registry.next_due(now);
        self.wake_at.store(writer.due.min(self.sweep_at.load(Relaxed)), Relaxed);
    }

    pub(super) fn tick(&self, now: u64) {
        self.sweep_all(now);
        self.settle(now);
        if let Some(mut writer) = self.writer.try_lock() {
            self.free_retired(&mut writer);
            self.publish(&mut writer);
        }
        self.settle_marks(now);
    }

    /// Whether housekeeping is due. The next time never lies further ahead than a sweep takes; where it
    /// does, the clock was set back.
    #[inline]
    pub(super) fn is_due(&self, now: u64) -> bool {
        is_due(self.wake_at.load(Relaxed), now, self.sweep_every)
    }

    /// What one call does for the house once it is due: one part of the ticket table, and whatever
    /// time has changed.
    #[cold]
    pub(super) fn keep_house(&self, now: u64) {
        let at = self.sweep_at.load(Relaxed);
        let next = now.saturating_add(self.sweep_every);
        if is_due(at, now, self.sweep_every)
            && self.sweep_at.compare_exchange(at, next, Relaxed, Relaxed).is_ok()
        {
            let parts = self.tickets.parts() as u64;
            let part = self.sweep_part.fetch_add(1, Relaxed) % parts;
            self.sweep(part as usize, now);
        }
        if let Some(mut writer) = self.writer.try_lock() {
            self.settle_locked(&mut writer, now);
            self.wake_at.store(writer.due.min(self.sweep_at.load(Relaxed)), Relaxed);
        }
        self.tell_health();
        self.settle_marks(now);
    }

    fn settle_marks(&self, now: u64) {
        if !self.marks.are_settled() {
            self.settle(now);
        }
    }

    pub(super) fn after_fork(&self) {
        self.random.reseed();
        self.fallback.after_fork();
        self.tickets.clear();
        self.rows.iter().for_each(WorkerState::forget_charges);
        for installed in self.view().policies.iter() {
            installed.policy.after_fork();
        }
    }
}

/// Whether something to be done at `at`, at most `ahead` from the time at which that was set, is due.
/// One comparison: a time that has passed wraps around to a very large distance.
#[inline]
fn is_due(at: u64, now: u64, ahead: u64) -> bool {
    at.wrapping_sub(now).wrapping_sub(1) >= ahead.saturating_add(CLOCK_SLACK)
}

/// A removed worker's slot rests until its last request is undone, so there are a few more slots
/// than workers; never more than a slot set can hold.
fn slots_for(max_workers: usize) -> usize {
    (max_workers + max_workers / 8 + 8).min(crate::pool::MAX_WORKERS)
}
