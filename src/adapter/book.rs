//! One snapshot per distinct set of slices, and slots by URL.
//!
//! A call hands in its workers as slices. [`Book::roster`] finds the snapshot that was made of the
//! same `Arc`s and still agrees with their health and weight: one comparison of pointers and two
//! method calls per worker, no lock, nothing allocated. Where there is none, it is built under the
//! writer lock and published.
//!
//! **Slots.** A URL gets a slot when it is first seen and keeps it, whatever slices it comes in. Only
//! when all slots are taken does the URL that was not seen for longest, is in no published snapshot
//! and has no open request give up its slot, whose generation then changes. A request charges a slot
//! first and reads its generation afterwards; a rebuild that takes a slot changes the generation first
//! and reads the charges afterwards. So one of the two always notices the other.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::roster::{Asked, Roster, Seen, Side, member};
use crate::pool::{MAX_WORKERS, registry::Registry, set::SlotSet, snapshot::PoolSnapshot};
use crate::prefix::Registration;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use crate::worker::{
    Role, WorkerId,
    health::HealthConfig,
    proposal::Worker,
    spec::{WorkerInfo, WorkerSpec},
    state::WorkerState,
};

/// Snapshots kept: a router has one or two sets of slices at a time, and some more while workers
/// are added, removed, or left out of retries.
const MAX_ROSTERS: usize = 16;

/// The workers that were seen, and the snapshots made of them.
pub(super) struct Book {
    view: ArcSwap<Known>,
    pub(super) rows: Arc<[WorkerState]>,
    /// One more than the highest slot ever given out.
    slots: AtomicUsize,
    writer: Mutex<Writer>,
}

/// What calls read.
#[derive(Clone, Default)]
pub(super) struct Known {
    rosters: Vec<Arc<Roster>>,
    urls: Arc<HashMap<String, Arc<WorkerInfo>>>,
}

struct Writer {
    /// Gives out slots.
    registry: Registry,
    /// Counts rebuilds.
    clock: u64,
    /// By slot: the rebuild that saw its worker last.
    last_seen: Vec<u64>,
}

/// What the book asks of the policy and the prefix tree when a URL is added or forgotten.
pub(super) trait Register {
    /// The digest of a URL and the registration of its slot with the prefix tree.
    fn register(&self, slot: usize, url: &str) -> (u64, Option<Registration>);
    fn added(&self, info: &WorkerInfo);
    fn removed(&self, info: &WorkerInfo);
}

/// A roster in use.
pub(super) enum Lease {
    Published(Guard<Arc<Known>>, usize),
    Built(Arc<Roster>),
}

impl Deref for Lease {
    type Target = Roster;

    fn deref(&self) -> &Roster {
        match self {
            Lease::Published(view, index) => &view.rosters[*index],
            Lease::Built(roster) => roster,
        }
    }
}

impl Book {
    pub(super) fn new() -> Self {
        let rows: Arc<[WorkerState]> = (0..MAX_WORKERS).map(|_| WorkerState::new()).collect();
        Book {
            view: ArcSwap::default(),
            slots: AtomicUsize::new(0),
            writer: Mutex::new(Writer {
                registry: Registry::new(Arc::clone(&rows), MAX_WORKERS, HealthConfig::default(), 0),
                clock: 0,
                last_seen: vec![0; MAX_WORKERS],
            }),
            rows,
        }
    }

    /// The row of this worker's slot.
    pub(super) fn row(&self, id: WorkerId) -> Option<&WorkerState> {
        self.rows.get(id.slot())
    }

    /// The worker that is known under this URL.
    pub(super) fn by_url(&self, url: &str) -> Option<WorkerId> {
        self.view.load().urls.get(url).map(|info| info.id)
    }

    /// One more than the highest slot ever given out.
    pub(super) fn slots(&self) -> usize {
        self.slots.load(Relaxed)
    }

    /// The current snapshot of these slices. O(workers).
    pub(super) fn roster(&self, asked: &[Asked<'_>], register: &impl Register) -> Lease {
        let view = self.view.load();
        let Some(index) = view.rosters.iter().position(|roster| roster.is_current(asked)) else {
            return self.renewed(asked, register);
        };
        let used = &view.rosters[index].used;
        if !used.load(Relaxed) {
            used.store(true, Relaxed);
        }
        Lease::Published(view, index)
    }

    /// The same, after waiting for a thread that is changing the book.
    #[cold]
    pub(super) fn renewed(&self, asked: &[Asked<'_>], register: &impl Register) -> Lease {
        let mut writer = self.writer.lock();
        let old = self.view.load_full();
        if let Some(roster) = old.rosters.iter().find(|roster| roster.is_current(asked)) {
            return Lease::Built(Arc::clone(roster));
        }
        let mut view = Known::clone(&old);
        let roster = Arc::new(self.build(&mut writer, &mut view, asked, register));
        keep(&mut view.rosters, asked, &roster);
        self.view.store(Arc::new(view));
        Lease::Built(roster)
    }

    fn build(
        &self,
        writer: &mut Writer,
        view: &mut Known,
        asked: &[Asked<'_>],
        register: &impl Register,
    ) -> Roster {
        writer.clock += 1;
        let (mut members, mut slots) = (Vec::new(), SlotSet::EMPTY);
        let side = |asked: &Asked<'_>| {
            let seen: Vec<Seen> = asked.workers.iter().map(Seen::new).collect();
            let mut by_slot: Vec<Option<Arc<dyn Worker>>> = Vec::new();
            for seen in &seen {
                let Some(info) = self.info(writer, view, seen, asked.role, register) else {
                    continue;
                };
                let slot = info.id.slot();
                slots.insert(slot);
                if by_slot.len() <= slot {
                    by_slot.resize(slot + 1, None);
                }
                // A URL that comes twice in a slice is one worker.
                if by_slot[slot].is_none() {
                    by_slot[slot] = Some(Arc::clone(&seen.worker));
                    let residency = writer.registry.residency(slot);
                    members.push(member(info, residency, asked.role, seen));
                }
            }
            Side { role: asked.role, seen, by_slot, rows: Arc::clone(&self.rows) }
        };
        let sides = asked.iter().map(side).collect();
        let pool = PoolSnapshot::new(&members);
        Roster { pool, sides, slots, used: AtomicBool::new(true) }
    }

    /// What is registered for the worker's URL; registers it if needed. `None` where the URL is empty
    /// or no slot is free.
    fn info(
        &self,
        writer: &mut Writer,
        view: &mut Known,
        seen: &Seen,
        role: Role,
        register: &impl Register,
    ) -> Option<Arc<WorkerInfo>> {
        let url = seen.worker.url();
        let info = match view.urls.get(url) {
            Some(info) => Arc::clone(info),
            None => {
                if view.urls.len() >= MAX_WORKERS {
                    self.make_room(writer, view, register);
                }
                let of_slot = |slot, spec: &WorkerSpec| register.register(slot, &spec.url);
                let info = writer.registry.add(WorkerSpec::new(url).role(role), 0, of_slot).ok()?;
                register.added(&info);
                self.slots.fetch_max(info.id.slot() + 1, Relaxed);
                Arc::make_mut(&mut view.urls).insert(url.to_owned(), Arc::clone(&info));
                info
            }
        };
        writer.last_seen[info.id.slot()] = writer.clock;
        Some(info)
    }

    /// Forgets the URL that was not seen for longest among those that are not in use; if there is none,
    /// drops as many snapshots as needed first.
    fn make_room(&self, writer: &mut Writer, view: &mut Known, register: &impl Register) {
        loop {
            if let Some(info) = self.unused(writer, view) {
                return self.forget(&info, writer, view, register);
            }
            let Some(place) = least_used(&view.rosters) else { return };
            view.rosters.remove(place);
        }
    }

    fn unused(&self, writer: &Writer, view: &Known) -> Option<Arc<WorkerInfo>> {
        let kept = view.rosters.iter().fold(SlotSet::EMPTY, |kept, other| kept.or(&other.slots));
        let last_seen = |info: &&Arc<WorkerInfo>| writer.last_seen[info.id.slot()];
        let unused = |info: &&Arc<WorkerInfo>| {
            let slot = info.id.slot();
            // What this build has seen already is in use, too.
            last_seen(info) < writer.clock && !kept.contains(slot) && self.rows[slot].is_idle()
        };
        view.urls.values().filter(unused).min_by_key(last_seen).cloned()
    }

    fn forget(
        &self,
        info: &WorkerInfo,
        writer: &mut Writer,
        view: &mut Known,
        register: &impl Register,
    ) {
        let row = &self.rows[info.id.slot()];
        row.vacate();
        if !row.is_idle() {
            // A request that still had an old snapshot was faster; its worker stays.
            row.occupy(info.id.generation(), None);
        } else if writer.registry.remove(info.id).is_ok() {
            Arc::make_mut(&mut view.urls).remove(&info.url);
            register.removed(info);
        }
    }
}

/// Replaces the snapshot that this one renews, or else one that was not used lately.
fn keep(rosters: &mut Vec<Arc<Roster>>, asked: &[Asked<'_>], new: &Arc<Roster>) {
    let renewed = rosters.iter().position(|roster| roster.is_of_same_workers(asked));
    let is_full = rosters.len() >= MAX_ROSTERS;
    let place = renewed.or_else(|| if is_full { least_used(rosters) } else { None });
    match place {
        Some(index) => rosters[index] = Arc::clone(new),
        None => rosters.push(Arc::clone(new)),
    }
}

/// A snapshot without a mark of use, else the first. Clears marks on its way, so that the next search
/// finds some without.
fn least_used(rosters: &[Arc<Roster>]) -> Option<usize> {
    let unused = rosters.iter().position(|roster| !roster.used.swap(false, Relaxed));
    unused.or(if rosters.is_empty() { None } else { Some(0) })
}
