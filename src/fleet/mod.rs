//! The fleet: the workers and the policies, as one published view that requests read without a lock, and
//! the writer's side under a lock.
//!
//! - [`view`]: what requests read.
//! - [`policies`]: the installed policies, and which of them decides.
//! - `writer`: registry, factory and replaced views: what the lock guards.
//! - `membership`: workers are added, changed and removed.
//! - `switch`: policies are installed and replaced.
//! - `health`: what outcomes and time do to a worker.
//! - [`health_log`]: reports that to the host.
//! - [`room`]: tells those who wait for a place.
//! - [`due`]: when maintenance is due.
//!
//! A change takes the writer lock, changes the registry or the policies, and publishes a new view.

pub(crate) mod due;
mod health;
pub(crate) mod health_log;
mod membership;
pub(crate) mod policies;
pub(crate) mod room;
mod switch;
pub(crate) mod view;
mod writer;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use self::due::Due;
use self::health_log::HealthLog;
use self::policies::Policies;
use self::room::Room;
use self::view::{Local, View};
use self::writer::Writer;
use crate::policy::factory::PolicyFactory;
use crate::pool::{registry::Registry, snapshot::PoolSnapshot};
use crate::prompt::{PromptReader, once::Window};
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};
use crate::sync::exclusive::{Entered, Exclusive};
use crate::worker::{WorkerId, health::HealthConfig, state::WorkerState};

/// Workers and policies: published for requests, changed under a lock.
pub(crate) struct Fleet {
    view: ArcSwap<View>,
    /// Of the view.
    version: AtomicU64,
    room: Room,
    locals: Exclusive<Local>,
    rows: Arc<[WorkerState]>,
    /// Told of workers that come and go.
    prompts: Arc<PromptReader>,
    health: HealthConfig,
    log: Option<HealthLog>,
    due: Due,
    writer: Mutex<Writer>,
}

impl Fleet {
    /// A fleet without workers and policies, whose maintenance is due at least once in `every` nanoseconds.
    pub(crate) fn new(
        registry: Registry,
        factory: PolicyFactory,
        prompts: Arc<PromptReader>,
        log: Option<HealthLog>,
        room: Room,
        every: u64,
    ) -> Self {
        let empty = Arc::new(View {
            version: 0,
            pool: PoolSnapshot::default(),
            policies: Policies::default(),
        });
        let view = ArcSwap::new(Arc::clone(&empty));
        let local =
            move |stripe| Local { stripe, view: Arc::clone(&empty), window: Window::default() };
        Fleet {
            view,
            version: AtomicU64::new(0),
            room,
            locals: Exclusive::new(local),
            rows: registry.rows(),
            prompts,
            health: registry.health().clone(),
            log,
            due: Due::new(every),
            writer: Mutex::new(Writer::new(registry, factory)),
        }
    }

    /// Who waits for a place.
    #[inline(always)]
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// The workers' rows, by slot.
    #[inline]
    pub(crate) fn rows(&self) -> &[WorkerState] {
        &self.rows
    }

    /// The row of this slot.
    #[inline]
    pub(crate) fn row(&self, slot: u16) -> Option<&WorkerState> {
        self.rows.get(usize::from(slot))
    }

    /// The worker that holds the slot, or held it last.
    pub(crate) fn id(&self, slot: u16) -> WorkerId {
        let generation = self.row(slot).map_or(0, WorkerState::last_generation);
        WorkerId::new(slot.into(), generation)
    }

    /// The view of this moment.
    #[inline]
    pub(crate) fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// Takes the calling thread's state for one request.
    #[inline]
    pub(crate) fn enter(&self) -> Entered<'_, Local> {
        self.locals.enter()
    }

    /// Takes the state of one stripe after the other, leaving out those that a thread is in.
    pub(crate) fn enter_each(&self) -> impl Iterator<Item = Entered<'_, Local>> {
        self.locals.enter_each()
    }

    /// Brings a stripe's view up to date.
    #[inline]
    pub(crate) fn refresh(&self, view: &mut Arc<View>) {
        // Acquire pairs with the release of the thread that published this version.
        if view.version != self.version.load(Acquire) {
            self.reload(view);
        }
    }

    #[cold]
    fn reload(&self, view: &mut Arc<View>) {
        // The replaced one is not freed here: the writer holds it until no request reads it.
        *view = self.view.load_full();
    }

    /// Whether maintenance is due.
    #[inline]
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.due.has_come(now)
    }

    /// Applies what outcomes and time have changed, unless another thread holds the lock.
    pub(crate) fn maintain(&self, now: u64) {
        let mut changed = false;
        if let Some(mut writer) = self.writer.try_lock() {
            let before = self.version.load(Relaxed);
            self.settle(&mut writer, now);
            changed = self.version.load(Relaxed) != before;
        }
        self.tell_health();
        if changed {
            self.tell_change();
        }
    }

    /// Publishes anew, and frees replaced policies that no request can reach; `in_use` says whether an
    /// open ticket names the policy of this index.
    pub(crate) fn renew(&self, in_use: impl Fn(u16) -> bool) {
        if let Some(mut writer) = self.writer.try_lock() {
            writer.free_retired(&in_use);
            self.publish(&mut writer);
        }
    }

    /// For a forked child: forgets what the parent's requests were charged.
    pub(crate) fn after_fork(&self) {
        self.rows.iter().for_each(WorkerState::forget_charges);
        for installed in self.view().policies.iter() {
            installed.policy.after_fork();
        }
    }

    /// Makes a change and publishes it, unless it fails; without a time, at the last known one.
    fn write<T, E>(
        &self,
        now: Option<u64>,
        change: impl FnOnce(&mut Writer) -> Result<T, E>,
    ) -> Result<T, E> {
        let done = self.locked(|writer| {
            if let Some(now) = now {
                writer.advance(now);
            }
            let done = change(writer)?;
            self.publish(writer);
            Ok(done)
        })?;
        self.tell_change();
        Ok(done)
    }

    /// A changed fleet may have room, or nothing left to wait for.
    fn tell_change(&self) {
        fence(SeqCst);
        self.room.given_back();
    }

    /// Runs `work` under the writer lock, and then the maintenance that requests noted while it was held.
    fn locked<T>(&self, work: impl FnOnce(&mut Writer) -> T) -> T {
        let mut writer = self.writer.lock();
        let done = work(&mut writer);
        let now = writer.now;
        drop(writer);
        if self.due.has_come(now) {
            self.maintain(now);
        }
        done
    }

    fn publish(&self, writer: &mut Writer) {
        // Changed under the writer lock only.
        let version = self.version.load(Relaxed) + 1;
        let view = writer.view(version);
        let replaced = self.view.swap(Arc::clone(&view));
        self.version.store(version, Release);
        for mut local in self.locals.enter_each() {
            local.view = Arc::clone(&view);
        }
        writer.retire(replaced);
        self.due.by(writer.due);
    }
}
