//! Per worker: a virtual clock that counts the blocks newly sent to it, or those that its engine says
//! it has evicted, and what ends residency.
//!
//! A record with stamp `s` is believed resident while `registered_at <= s` and `clock - s < capacity`.
//! So a worker's LRU eviction costs nothing, and its removal is one store: `registered_at = MAX`.
//!
//! # Why a late insert cannot revive a removed worker's records
//!
//! Registration stores `registered_at = MAX`, then takes `b = clock.fetch_add(1) + 1`, then stores
//! `registered_at = b`. An insert first moves the clock by `n` with `fetch_add` and stamps its records
//! with the sum, then checks that `registered_at` is still that of its own registration.
//!
//! - If the insert's `fetch_add` comes first in the clock's modification order, then its stamp is
//!   at most the value that registration read, so below `b`: its records are dead from the start, whenever
//!   they are written.
//! - If registration's comes first, then the insert's `fetch_add` (acquire) reads from it or from
//!   a later one in its release sequence, so `registered_at = MAX` happens before the insert's check. The
//!   check sees MAX or a later value, neither of which is the older registration, and gives up.

use super::record::{MAX_SLOTS, Record};
use crate::sync::{AtomicU64, Ordering};

const NOT_REGISTERED: u64 = u64::MAX;

/// What a worker's residency began with. Records made under an earlier one count for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration(pub(super) u64);

/// The parts that every lookup reads and only membership writes; clocks lie apart from them, so
/// that counting blocks does not take these lines away from other processors.
struct Limits {
    registered_at: AtomicU64,
    /// In blocks; `u64::MAX` where it is not known.
    capacity: AtomicU64,
}

#[derive(Default)]
struct Clock {
    blocks: AtomicU64,
    /// Blocks that may be sent to a worker whose engine tells what it evicts, before it is believed to
    /// have fallen silent; 0 where it tells nothing.
    trust: AtomicU64,
}

pub(super) struct Slots {
    limits: Box<[Limits]>,
    clocks: Box<[Clock]>,
    /// One more than the highest slot ever registered.
    used: AtomicU64,
    registered: AtomicU64,
}

impl Slots {
    /// Bytes held for each slot.
    pub(super) const BYTES: usize = size_of::<Limits>() + size_of::<Clock>();

    pub(super) fn new(count: usize) -> Slots {
        let limits = || Limits {
            registered_at: AtomicU64::new(NOT_REGISTERED),
            capacity: AtomicU64::new(u64::MAX),
        };
        Slots {
            limits: (0..count).map(|_| limits()).collect(),
            clocks: (0..count).map(|_| Clock::default()).collect(),
            used: AtomicU64::new(0),
            registered: AtomicU64::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.clocks.len()
    }

    pub(super) fn register(&self, slot: u16, capacity: Option<u64>) -> Option<Registration> {
        let limits = self.limits.get(usize::from(slot))?;
        let clock = self.clocks.get(usize::from(slot))?;
        self.unregister(slot);
        let registered_at = clock.blocks.fetch_add(1, Ordering::AcqRel) + 1;
        limits.capacity.store(capacity.unwrap_or(u64::MAX), Ordering::Relaxed);
        clock.trust.store(0, Ordering::Relaxed);
        limits.registered_at.store(registered_at, Ordering::Release);
        self.used.fetch_max(u64::from(slot) + 1, Ordering::Relaxed);
        self.registered.fetch_add(1, Ordering::Relaxed);
        Some(Registration(registered_at))
    }

    pub(super) fn unregister(&self, slot: u16) {
        let Some(limits) = self.limits.get(usize::from(slot)) else { return };
        if limits.registered_at.swap(NOT_REGISTERED, Ordering::AcqRel) != NOT_REGISTERED {
            self.registered.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn set_capacity(&self, slot: u16, capacity: Option<u64>) {
        if let Some(limits) = self.limits.get(usize::from(slot)) {
            limits.capacity.store(capacity.unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// What the slot's residency began with.
    pub(super) fn registered_at(&self, slot: u16) -> u64 {
        let limits = self.limits.get(usize::from(slot));
        limits.map_or(NOT_REGISTERED, |limits| limits.registered_at.load(Ordering::Relaxed))
    }

    /// `None` where the capacity is not known.
    pub(super) fn capacity(&self, slot: u16) -> Option<u64> {
        let limits = self.limits.get(usize::from(slot))?;
        Some(limits.capacity.load(Ordering::Relaxed)).filter(|&blocks| blocks != u64::MAX)
    }

    pub(super) fn is_current(&self, slot: u16, registration: Registration) -> bool {
        let registered_at =
            self.limits.get(usize::from(slot)).map(|l| l.registered_at.load(Ordering::Acquire));
        registered_at == Some(registration.0) && registration.0 != NOT_REGISTERED
    }

    /// One more than the highest slot ever registered.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed) as usize
    }

    /// How many slots are registered now.
    pub(super) fn registered(&self) -> usize {
        self.registered.load(Ordering::Relaxed) as usize
    }

    /// Notes what the worker's engine says: that it has evicted so many blocks. It is believed while at
    /// most `trust` blocks are sent there.
    pub(super) fn evicted(&self, slot: u16, blocks: u64, trust: u64) {
        if let Some(clock) = self.clocks.get(usize::from(slot)) {
            clock.blocks.fetch_add(blocks, Ordering::AcqRel);
            clock.trust.store(trust, Ordering::Relaxed);
        }
    }

    /// Moves the clock on, for blocks that are sent now and new, and for old ones, and returns its new
    /// value, the stamp of what is sent. New ones do not count where the engine tells what it evicts.
    pub(super) fn advance(&self, slot: u16, new: u64, old: u64) -> u64 {
        let Some(clock) = self.clocks.get(usize::from(slot)) else { return 0 };
        let trust = clock.trust.load(Ordering::Relaxed);
        let mut blocks = new + old;
        if trust > 0 {
            // Of two calls at once one may not be counted: a silent engine is noticed a little later.
            clock.trust.store(trust.saturating_sub(new), Ordering::Relaxed);
            blocks = old;
        }
        // AcqRel, also by nothing: see the module's argument.
        clock.blocks.fetch_add(blocks, Ordering::AcqRel) + blocks
    }

    /// How far the clock of the record's worker has moved on since its stamp.
    pub(super) fn age(&self, record: Record) -> u64 {
        let clock = self.clocks.get(usize::from(record.slot()));
        let now = clock.map_or(0, |clock| clock.blocks.load(Ordering::Relaxed));
        now.saturating_sub(record.stamp())
    }

    /// Whether the record's worker probably still holds what the record says.
    #[inline]
    pub(super) fn is_resident(&self, record: Record) -> bool {
        let Some(limits) = self.limits.get(usize::from(record.slot())) else { return false };
        if !record.exists() || record.stamp() < limits.registered_at.load(Ordering::Acquire) {
            return false;
        }
        let capacity = limits.capacity.load(Ordering::Relaxed);
        capacity == u64::MAX || self.age(record) < capacity
    }
}

const _: () = assert!(MAX_SLOTS <= u16::MAX as usize);
