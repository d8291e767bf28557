//! Answers: an engine keeps what it has generated, so the worker that gave an answer holds the beginning of the next
//! turn beyond the prompt that it was sent.
//!
//! Only the answer's length is known. It is noted under the last full block of the prompt. A later prompt that this
//! worker is believed to hold up to that very block, and that goes on by at least the answer's blocks, is believed
//! to be held so much further: never more than it contains, and where what follows is something else, the worker's
//! next report says so (see `breaks`).
//!
//! One word an entry, newer ones replace older ones, all accesses relaxed: a word says all that there is to say. The
//! moment of the worker's registration is part of its key, so nothing has to be cleared.

use super::record::MAX_SLOTS;
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// Share of the tree's budget, and most entries.
const SHARE: usize = 64;
const MOST: usize = 1 << 17;
/// Most blocks that an answer counts.
const BLOCKS: u64 = (1 << 22) - 1;

/// `[key : 32 | blocks : 22 | slot : 10]`; 0 is none.
pub(super) struct Answers {
    entries: Box<[AtomicU64]>,
    /// Whether there was ever one.
    any: AtomicU64,
}

impl Answers {
    pub(super) fn new(budget: usize) -> Answers {
        let entries = (0..Self::entries_of(budget)).map(|_| AtomicU64::new(0)).collect();
        Answers { entries, any: AtomicU64::new(0) }
    }

    fn entries_of(budget: usize) -> usize {
        let count = budget / SHARE / size_of::<AtomicU64>();
        if count < 64 { 0 } else { (1 << count.ilog2()).min(MOST) }
    }

    pub(super) fn bytes(budget: usize) -> usize {
        Self::entries_of(budget) * size_of::<AtomicU64>()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.any.load(Relaxed) == 0
    }

    /// Notes an answer of so many blocks at its place.
    pub(super) fn note(&self, (entry, key): (&AtomicU64, u64), blocks: u64) {
        entry.store(key | blocks.min(BLOCKS) << 10, Relaxed);
        self.any.store(1, Relaxed);
    }

    /// The blocks of the answer that is noted there, if it is this one.
    pub(super) fn blocks((entry, key): (&AtomicU64, u64)) -> Option<u64> {
        // What is left, where key and slot agree.
        let answer = entry.load(Relaxed) ^ key;
        (answer & !(BLOCKS << 10) == 0).then_some(answer >> 10)
    }

    /// Where an answer to a prompt that ends so is noted, and what its word begins and ends with.
    pub(super) fn place(
        &self,
        end: u32,
        slot: u16,
        registered_at: u64,
    ) -> Option<(&AtomicU64, u64)> {
        let slot = u64::from(slot) % MAX_SLOTS as u64;
        let mix = u64::from(end) ^ (registered_at << 10 | slot).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mix = mix.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let entry = self.entries.get(mix as usize >> 7 & self.entries.len().wrapping_sub(1))?;
        Some((entry, (mix >> 32 | 1) << 32 | slot))
    }
}
