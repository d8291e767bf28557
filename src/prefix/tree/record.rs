//! One holder of a run: which worker, how many of the run's blocks, and when last.

/// Most slots a tree can tell apart.
pub(super) const MAX_SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 10;
const LENGTH_BITS: u32 = 4;

/// `[stamp: 50 | length: 4 | slot: 10]`; 0 is no record, because a record's length is not 0.
///
/// The stamp is the worker's virtual clock, in blocks newly sent to it: 2^50 of them last 35
/// years at a million per second.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Record(pub(super) u64);

impl Record {
    pub(super) fn new(slot: u16, length: usize, stamp: u64) -> Record {
        let low = ((length as u64) << SLOT_BITS) | (u64::from(slot) % MAX_SLOTS as u64);
        Record(stamp << (SLOT_BITS + LENGTH_BITS) | low)
    }

    pub(super) fn exists(self) -> bool {
        self.0 != 0
    }

    pub(super) fn slot(self) -> u16 {
        (self.0 % MAX_SLOTS as u64) as u16
    }

    pub(super) fn length(self) -> usize {
        (self.0 >> SLOT_BITS) as usize % (1 << LENGTH_BITS)
    }

    pub(super) fn stamp(self) -> u64 {
        self.0 >> (SLOT_BITS + LENGTH_BITS)
    }
}
