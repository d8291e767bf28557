//! The table of sets: lines of atomics reached by index, a sequence lock per set.
//!
//! # Memory ordering
//!
//! A writer makes the version odd by compare-exchange (acquire, so that it sees what the last
//! writer wrote), puts a release fence before its relaxed stores, and ends with a release store of
//! the next even version. A reader loads the version (acquire), reads relaxed, puts an acquire
//! fence, and loads the version again. If it read any value that a later writer stored, then the
//! two fences synchronise, so the second load sees at least that writer's odd version and the
//! reader throws away what it read. Equal versions therefore mean that everything read in between
//! belongs to one state of the set.
//!
//! Recency marks and stamps are refreshed outside the lock by compare-exchange on the word that
//! the decision was made from; a replaced word makes it fail. Their values never decide what a
//! node says, so readers need no ordering on them.

pub(super) mod insert;
mod lookup;

use super::line::{Line, Lines, WORDS};
use super::node::NODE_LINES;
use crate::sync::{AtomicU64, Ordering, fence};

/// Nodes per set.
#[cfg(not(pointsman_loom))]
pub(crate) const WAYS: usize = 14;
/// Few atomics keep the model checker's states few.
#[cfg(pointsman_loom)]
pub(crate) const WAYS: usize = 2;
const SET_LINES: usize = 1 + NODE_LINES * WAYS;
/// The bits that tags can have in a mask of ways; other lanes of the same words are marks.
const TAG_BITS: u64 = tag_bits();
const LOCKED: u64 = 1;
const SPILLED: u64 = 2;
const VERSION_STEP: u64 = 4;

/// What a node holds: the tag's lowest bit says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Run,
    Extra,
}

/// A key's two sets and its tag.
#[derive(Clone, Copy)]
pub(crate) struct Home {
    sets: [u32; 2],
    tag: u16,
    key: u64,
}

impl Home {
    /// The node's first word.
    pub(crate) fn key(&self) -> u64 {
        self.key
    }
}

/// Where a key's node probably is: ways of one set whose tag agrees.
#[derive(Clone, Copy)]
pub(crate) struct Located {
    home: Home,
    set: u32,
    version: u64,
    ways: u64,
}

impl Located {
    /// Whether the headers rule the key out, as far as a look without a lock can tell.
    pub(crate) fn is_absent(&self) -> bool {
        self.ways == 0 && self.version & LOCKED == 0
    }
}

/// Way `4 * w + l` has bit `16 * l + w` of a mask.
const fn tag_bits() -> u64 {
    let mut bits = 0;
    let mut way = 0;
    while way < WAYS {
        bits |= 1 << (16 * (way % 4) + way / 4);
        way += 1;
    }
    bits
}

/// The way of a mask's lowest bit.
#[inline]
fn way_of(ways: u64) -> usize {
    let bit = ways.trailing_zeros() as usize;
    (4 * (bit % 16) + bit / 16).min(WAYS - 1)
}

/// A node as it was when `version` was current.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) set: u32,
    pub(crate) way: u8,
    /// Leading blocks of the asked path that the run has.
    pub(crate) same: u8,
    /// Blocks that the run has.
    pub(crate) length: u8,
    pub(crate) mark: u16,
    pub(crate) version: u64,
}

pub(crate) struct Table {
    lines: Lines,
    sets: u32,
    /// A bit per chunk that a node was ever written to. What was never written is not read either: the
    /// system would map a shared page of zeros there, and have to replace it at the first write, with a
    /// TLB shootdown on every processor.
    written: Box<[AtomicU64]>,
    /// Sets with keys that lie in their second.
    spilled: AtomicU64,
}

/// Lines of the smallest page.
const SMALL_PAGE: usize = 4096 / size_of::<Line>();
/// Sets whose memory is first touched together: a little less than a large page.
const CHUNK: usize = 1024;

impl Table {
    pub(crate) const SET_BYTES: usize = SET_LINES * size_of::<Line>();

    /// `None` if the system cannot allocate this much.
    pub(crate) fn new(sets: usize) -> Option<Table> {
        let lines = Lines::new(sets * SET_LINES)?;
        let written = (0..Self::chunk_words(sets)).map(|_| AtomicU64::new(0)).collect();
        Some(Table { lines, sets: sets as u32, written, spilled: AtomicU64::new(0) })
    }

    /// Bytes of a table with this many sets.
    pub(crate) fn bytes(sets: usize) -> usize {
        sets * Self::SET_BYTES + Self::chunk_words(sets) * size_of::<AtomicU64>() + Lines::SLACK
    }

    /// As many sets as fit into this many bytes.
    pub(crate) fn sets_in(bytes: usize) -> usize {
        let most = bytes / Self::SET_BYTES;
        let rest = Lines::SLACK + Self::chunk_words(most) * size_of::<AtomicU64>();
        bytes.saturating_sub(rest) / Self::SET_BYTES
    }

    fn chunk_words(sets: usize) -> usize {
        sets.div_ceil(CHUNK * u64::BITS as usize)
    }

    /// Whether anything was ever written near this set.
    #[inline(always)]
    fn is_written(&self, set: u32) -> bool {
        let chunk = set as usize / CHUNK;
        // The model checker has few sets, and no memory to be taken.
        cfg!(pointsman_loom)
            || self.written[chunk / 64].load(Ordering::Relaxed) >> (chunk % 64) & 1 == 1
    }

    /// Takes the memory around this set from the system, by writing to it.
    #[cold]
    fn take(&self, set: u32) {
        let chunk = set as usize / CHUNK;
        let sets = chunk * CHUNK..((chunk + 1) * CHUNK).min(self.sets as usize);
        for line in
            self.lines[sets.start * SET_LINES..sets.end * SET_LINES].iter().step_by(SMALL_PAGE)
        {
            // Changes no value: where the word is not 0, the page was written to already. Compilers turn
            // other read-modify-writes that cannot change a value into a load.
            let _ = line.0[0].compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.written[chunk / 64].fetch_or(1 << (chunk % 64), Ordering::Relaxed);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.sets as usize * WAYS
    }

    pub(crate) fn home(&self, key: u64, kind: Kind) -> Home {
        // A bijection, so that keys of any origin spread and no two keys become one.
        let mut mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 32;
        mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^= mixed >> 32;
        let pick = |bits: u32| ((u64::from(bits) * u64::from(self.sets)) >> 32) as u32;
        let first = pick((mixed >> 32) as u32);
        let mut second = pick((mixed as u32).wrapping_mul(0x85eb_ca6b));
        if second == first {
            second = if first + 1 == self.sets { 0 } else { first + 1 };
        }
        let tag = (mixed >> 8) as u16;
        let tag = match kind {
            Kind::Run => (tag & !1).max(2),
            Kind::Extra => tag | 1,
        };
        Home { sets: [first, second], tag, key }
    }

    #[inline]
    fn is_current(&self, set: u32, version: u64) -> bool {
        if version == 0 && !self.is_written(set) {
            return true;
        }
        fence(Ordering::Acquire);
        self.version(set).load(Ordering::Relaxed) == version
    }

    /// Whether `found` still is what it was, and everything read since belongs to it.
    #[inline]
    pub(crate) fn is_unchanged(&self, found: &Found) -> bool {
        self.is_current(found.set, found.version)
    }

    /// A bit per way whose tag is `tag`, where [`way_of`] expects it.
    #[inline(always)]
    fn tagged(&self, set: u32, tag: u16) -> u64 {
        const HIGH: u64 = 0x8000_8000_8000_8000;
        let wanted = u64::from(tag).wrapping_mul(HIGH >> 15);
        let header = self.header(set);
        let mut bits = 0;
        for word in 0..WAYS.div_ceil(4) {
            let differing = header.0[1 + word].load(Ordering::Relaxed) ^ wanted;
            let zero = !((differing & !HIGH).wrapping_add(!HIGH) | differing) & HIGH;
            bits |= zero >> (15 - word);
        }
        bits & TAG_BITS
    }

    fn lane(&self, set: u32, lane: usize) -> u16 {
        (self.header(set).0[1 + lane / 4].load(Ordering::Relaxed) >> (16 * (lane % 4))) as u16
    }

    fn mark(&self, set: u32, way: usize) -> u16 {
        self.lane(set, WAYS + way)
    }

    /// Under the set's lock. Marks are refreshed without it: a refresh of a neighbour that falls
    /// between the two accesses is lost, like one that was skipped.
    fn set_lane(&self, set: u32, lane: usize, value: u16) {
        let word = &self.header(set).0[1 + lane / 4];
        let shift = 16 * (lane % 4);
        let old = word.load(Ordering::Relaxed);
        word.store(old & !(0xffff << shift) | u64::from(value) << shift, Ordering::Relaxed);
    }

    /// Marks a node as used at `lane`, unless its word of the header changes meanwhile.
    pub(crate) fn touch(&self, found: &Found, lane: u16) -> bool {
        let index = WAYS + usize::from(found.way);
        let word = &self.header(found.set).0[1 + index / 4];
        let shift = 16 * (index % 4);
        let old = word.load(Ordering::Relaxed);
        if (old >> shift) as u16 != found.mark {
            return false;
        }
        let new = old & !(0xffff << shift) | u64::from(lane) << shift;
        word.compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Takes the set of a found node for writing, unless another thread wrote to it since.
    pub(crate) fn lock_found(&self, found: &Found) -> Option<Guard<'_>> {
        self.lock(found.set, found.version)
    }

    fn lock(&self, set: u32, version: u64) -> Option<Guard<'_>> {
        if version & LOCKED != 0 {
            return None;
        }
        let word = self.version(set);
        word.compare_exchange(version, version | LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        fence(Ordering::Release);
        Some(Guard { table: self, set, version })
    }

    #[inline]
    fn header(&self, set: u32) -> &Line {
        &self.lines[set as usize * SET_LINES]
    }

    #[inline]
    fn version(&self, set: u32) -> &AtomicU64 {
        &self.header(set).0[0]
    }

    #[inline]
    fn line(&self, set: u32, way: usize, line: usize) -> &Line {
        &self.lines[set as usize * SET_LINES + 1 + NODE_LINES * way + line]
    }

    /// Both lines of a node.
    #[inline]
    pub(crate) fn lines(&self, node: &Found) -> [&[AtomicU64; WORDS]; NODE_LINES] {
        let way = usize::from(node.way);
        [&self.line(node.set, way, 0).0, &self.line(node.set, way, 1).0]
    }

    #[inline]
    pub(crate) fn word(&self, set: u32, way: usize, word: usize) -> &AtomicU64 {
        &self.line(set, way, word / WORDS).0[word % WORDS]
    }
}

/// The right to write to one set; ends with the next even version.
pub(crate) struct Guard<'t> {
    table: &'t Table,
    set: u32,
    version: u64,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let next = self.version.wrapping_add(VERSION_STEP);
        self.table.version(self.set).store(next, Ordering::Release);
    }
}
