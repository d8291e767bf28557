//! The slices of one call, as a snapshot: which workers were handed in, and as what.

use std::sync::Arc;

use crate::pool::{
    candidates::Candidates,
    loads::{LoadSource, Loads},
    set::SlotSet,
    snapshot::{Member, PoolSnapshot},
};
use crate::prefix::Registration;
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::worker::{
    Role,
    proposal::Worker,
    spec::{MAX_WEIGHT, MIN_WEIGHT, WorkerInfo},
    state::WorkerState,
};

/// The workers that a call hands in to play one role.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) role: Role,
    pub(super) workers: &'a [Arc<dyn Worker>],
}

/// The slices of one call as one snapshot.
pub(super) struct Roster {
    pub(super) pool: PoolSnapshot,
    pub(super) sides: Vec<Side>,
    pub(super) slots: SlotSet,
    /// Whether it was used since the last rebuild of any: the clock algorithm's mark.
    pub(super) used: AtomicBool,
}

/// One slice as it was.
pub(super) struct Side {
    pub(super) role: Role,
    /// Keeps the workers alive, so that an address belongs to one of them as long as this exists.
    pub(super) seen: Vec<Seen>,
    pub(super) by_slot: Vec<Option<Arc<dyn Worker>>>,
    /// The adapter's.
    pub(super) rows: Arc<[WorkerState]>,
}

pub(super) struct Seen {
    pub(super) worker: Arc<dyn Worker>,
    pub(super) healthy: bool,
    pub(super) weight: f64,
}

impl Seen {
    pub(super) fn new(worker: &Arc<dyn Worker>) -> Self {
        Seen { worker: Arc::clone(worker), healthy: worker.is_healthy(), weight: worker.weight() }
    }

    fn is(&self, worker: &Arc<dyn Worker>) -> bool {
        // Addresses only: one type may have several tables of methods.
        std::ptr::addr_eq(Arc::as_ptr(&self.worker), Arc::as_ptr(worker))
    }

    pub(super) fn is_current(&self) -> bool {
        self.worker.is_healthy() == self.healthy
            && self.worker.weight().to_bits() == self.weight.to_bits()
    }

    /// Weight 0, or none at all, takes no new work.
    fn has_weight(&self) -> bool {
        self.weight > 0.0
    }
}

impl Roster {
    pub(super) fn is_of(
        &self,
        asked: &[Asked<'_>],
        fits: impl Fn(&Seen, &Arc<dyn Worker>) -> bool,
    ) -> bool {
        self.sides.len() == asked.len()
            && self.sides.iter().zip(asked).all(|(side, asked)| {
                side.role == asked.role
                    && side.seen.len() == asked.workers.len()
                    && side.seen.iter().zip(asked.workers).all(|(seen, worker)| fits(seen, worker))
            })
    }

    pub(super) fn is_current(&self, asked: &[Asked<'_>]) -> bool {
        self.is_of(asked, |seen, worker| seen.is(worker) && seen.is_current())
    }

    pub(super) fn is_of_same_workers(&self, asked: &[Asked<'_>]) -> bool {
        self.is_of(asked, Seen::is)
    }

    /// The workers that were handed in for this role.
    pub(super) fn candidates(&self, role: Role) -> Candidates<'_> {
        let loads = self.side(role).map_or(Loads::Rows(&[]), |side| Loads::Host(side));
        Candidates::new(&self.pool, role, loads, None)
    }

    pub(super) fn worker(&self, role: Role, slot: usize) -> Option<&Arc<dyn Worker>> {
        self.side(role)?.worker(slot)
    }

    fn side(&self, role: Role) -> Option<&Side> {
        self.sides.iter().find(|side| side.role == role)
    }
}

impl Side {
    fn worker(&self, slot: usize) -> Option<&Arc<dyn Worker>> {
        self.by_slot.get(slot)?.as_ref()
    }
}

/// Loads are the host's own; the adapter's rows have the KV tokens.
impl LoadSource for Side {
    fn has(&self, slot: usize) -> bool {
        self.worker(slot).is_some()
    }

    fn in_flight(&self, slot: usize) -> usize {
        self.worker(slot).map_or(0, |worker| worker.load().load(Relaxed))
    }

    fn resident_tokens(&self, slot: usize) -> u64 {
        self.rows.get(slot).map_or(0, WorkerState::resident_tokens)
    }

    fn state(&self, slot: usize) -> Option<&WorkerState> {
        self.worker(slot)?.state()
    }
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side").field("role", &self.role).finish_non_exhaustive()
    }
}

/// The worker in the role that it was handed in for, whatever it was registered as.
pub(super) fn member(
    info: Arc<WorkerInfo>,
    residency: Option<Registration>,
    role: Role,
    seen: &Seen,
) -> Member {
    let info =
        if info.role == role { info } else { Arc::new(WorkerInfo { role, ..(*info).clone() }) };
    Member {
        info,
        residency,
        weight: if seen.has_weight() { seen.weight.clamp(MIN_WEIGHT, MAX_WEIGHT) } else { 1.0 },
        healthy: seen.healthy,
        draining: !seen.has_weight(),
        limited: false,
    }
}
