//! The table of breaks: a fixed number of entries, found by mark and slot.

use arrayvec::ArrayVec;

use super::super::record::MAX_SLOTS;
use super::marks::{depth_of, key_of};
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// Most entries, and entries to a bucket.
const MOST: usize = 4096;
const WAYS: usize = 4;
/// Entries of one worker in a bucket, so that one that errs leaves room for others.
const OWN: usize = 2;
/// Share of the tree's budget.
const SHARE: usize = 64;
/// Bits that tell that a mark has no entry.
const SEEN: usize = 4096;
/// Removals after which these bits are made anew.
const REMOVALS: u64 = 256;
/// The count of reports in a row that makes a ceiling.
pub(super) const CEILING: u64 = 2;

pub(super) const BLOCKS: u64 = (1 << 20) - 1;

/// `[key : 32 | ceiling : 20 | slot : 10 | reports in a row : 2]`; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim(pub(super) u64);

impl Claim {
    pub(super) fn new(key: u32, ceiling: u32, slot: u16, row: u64) -> Claim {
        let ceiling = u64::from(ceiling).min(BLOCKS);
        let slot = u64::from(slot) % MAX_SLOTS as u64;
        Claim(u64::from(key) << 32 | ceiling << 12 | slot << 2 | row)
    }

    pub(super) fn is(self, key: u32, slot: u16) -> bool {
        self.0 != 0 && self.key() == key && self.slot() == slot
    }

    pub(super) fn key(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn ceiling(self) -> u32 {
        (self.0 >> 12 & BLOCKS) as u32
    }

    pub(super) fn slot(self) -> u16 {
        (self.0 >> 2) as u16 % MAX_SLOTS as u16
    }

    pub(super) fn row(self) -> u64 {
        self.0 & 3
    }
}

pub(super) struct Entry {
    pub(super) claim: AtomicU64,
    /// `[mark : 32 | its index : 8 | key's lower bits : 24]` of the path's end; 0: any continuation counts.
    pub(super) tail: AtomicU64,
}

pub(crate) struct Breaks {
    pub(super) entries: Box<[Entry]>,
    seen: Box<[AtomicU64]>,
    used: AtomicU64,
    removed: AtomicU64,
}

impl Breaks {
    /// Of a tree with this budget, of which it takes a small share, or nothing.
    pub(crate) fn new(budget: usize) -> Breaks {
        let count = Self::entries_of(budget);
        let word = |_| AtomicU64::new(0);
        let entry = |_| Entry { claim: AtomicU64::new(0), tail: AtomicU64::new(0) };
        Breaks {
            entries: (0..count).map(entry).collect(),
            seen: (0..if count == 0 { 0 } else { SEEN / 64 }).map(word).collect(),
            used: AtomicU64::new(0),
            removed: AtomicU64::new(0),
        }
    }

    fn entries_of(budget: usize) -> usize {
        let count = (budget / SHARE).saturating_sub(SEEN / 8) / size_of::<Entry>();
        if count < WAYS { 0 } else { (1 << count.ilog2()).min(MOST) }
    }

    pub(crate) fn bytes(budget: usize) -> usize {
        let count = Self::entries_of(budget);
        if count == 0 { 0 } else { count * size_of::<Entry>() + SEEN / 8 }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.used.load(Relaxed) == 0
    }

    pub(super) fn has_seen(&self, key: u32) -> bool {
        let bit = key as usize >> 1;
        self.seen
            .get(bit / 64 % (SEEN / 64))
            .is_some_and(|w| w.load(Relaxed) >> (bit % 64) & 1 == 1)
    }

    fn bucket(&self, key: u32, slot: u16) -> std::ops::Range<usize> {
        let mix =
            (u64::from(key) ^ u64::from(slot) << 17).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
        let first = mix as usize % (self.entries.len() / WAYS).max(1) * WAYS;
        first..(first + WAYS).min(self.entries.len())
    }

    pub(super) fn find(&self, key: u32, slot: u16) -> Option<(usize, Claim)> {
        self.bucket(key, slot).find_map(|index| {
            let claim = Claim(self.entries[index].claim.load(Relaxed));
            claim.is(key, slot).then_some((index, claim))
        })
    }

    /// Whether this prompt continues the path of an entry.
    pub(super) fn continues(&self, index: usize, key: u32, blocks: &[u64]) -> bool {
        let tail = self.entries[index].tail.load(Relaxed);
        let depth = depth_of((tail >> 24) as usize & 0xff);
        let of_claim = tail as u32 & 0xff_ffff == key & 0xff_ffff;
        let mark = || blocks.get(depth - 1).map(|&block| key_of(block));
        tail == 0 || of_claim && mark() == Some((tail >> 32) as u32)
    }

    /// Notes a first report.
    pub(super) fn insert(&self, claim: Claim, tail: u64) {
        let bucket = self.bucket(claim.key(), claim.slot());
        let claims: ArrayVec<(usize, Claim), WAYS> =
            bucket.map(|index| (index, Claim(self.entries[index].claim.load(Relaxed)))).collect();
        let own = || claims.iter().filter(|(_, old)| old.0 != 0 && old.slot() == claim.slot());
        let same = claims.iter().find(|(_, old)| old.is(claim.key(), claim.slot()));
        let place = same
            .or_else(|| {
                if own().count() >= OWN { own().min_by_key(|(_, old)| old.row()) } else { None }
            })
            .or_else(|| {
                claims.iter().min_by_key(|(_, old)| if old.0 == 0 { 0 } else { 1 + old.row() })
            });
        let Some(&(index, old)) = place else { return };
        let bit = claim.key() as usize >> 1;
        self.seen[bit / 64 % (SEEN / 64)].fetch_or(1 << (bit % 64), Relaxed);
        self.entries[index].tail.store(tail, Relaxed);
        if self.change(index, old, claim) && old.0 == 0 {
            self.used.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn change(&self, index: usize, old: Claim, new: Claim) -> bool {
        self.entries[index].claim.compare_exchange(old.0, new.0, Relaxed, Relaxed).is_ok()
    }

    pub(super) fn remove(&self, index: usize, old: Claim) {
        if self.change(index, old, Claim(0)) {
            self.used.fetch_sub(1, Relaxed);
            if self.removed.fetch_add(1, Relaxed) % REMOVALS == REMOVALS - 1 {
                self.see_anew();
            }
        }
    }

    /// Clears the bits of what is gone. One that is set at this moment may be lost, and a report with it.
    fn see_anew(&self) {
        let mut seen = [0u64; SEEN / 64];
        for entry in &self.entries {
            let claim = Claim(entry.claim.load(Relaxed));
            let bit = claim.key() as usize >> 1;
            seen[bit / 64 % (SEEN / 64)] |= u64::from(claim.0 != 0) << (bit % 64);
        }
        self.seen.iter().zip(seen).for_each(|(word, bits)| word.store(bits, Relaxed));
    }

    /// Forgets what was reported of a worker.
    pub(crate) fn clear(&self, slot: u16) {
        if self.is_empty() {
            return;
        }
        for (index, entry) in self.entries.iter().enumerate() {
            let claim = Claim(entry.claim.load(Relaxed));
            if claim.0 != 0 && claim.slot() == slot {
                self.remove(index, claim);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_errs_leaves_room_for_others() {
        let breaks = Breaks::new(1 << 20);
        for key in 0..100_000 {
            breaks.insert(Claim::new(key * 2 + 1, 7, 5, 1), 0);
        }
        let used = breaks.used.load(Relaxed) as usize;
        assert!(used <= breaks.entries.len() / WAYS * OWN, "{used}");
        breaks.insert(Claim::new(3, 9, 6, 1), 0);
        assert_eq!(breaks.find(3, 6).map(|(_, claim)| claim.ceiling()), Some(9));
        breaks.clear(5);
        assert_eq!(breaks.used.load(Relaxed), 1);
        breaks.clear(6);
        assert!(breaks.is_empty());
    }
}
