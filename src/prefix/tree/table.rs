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

use super::line::{Line, Lines, WORDS, prefetch};
use crate::sync::{AtomicU64, Ordering, fence, spin};

/// Blocks per node.
pub(super) const RUN: usize = 8;
/// Nodes per set.
#[cfg(not(pointsman_loom))]
pub(super) const WAYS: usize = 14;
/// Few atomics keep the model checker's states few.
#[cfg(pointsman_loom)]
pub(super) const WAYS: usize = 2;
const NODE_LINES: usize = 2;
const SET_LINES: usize = 1 + NODE_LINES * WAYS;
/// Words of one node.
pub(super) const NODE_WORDS: usize = NODE_LINES * WORDS;
/// The run's length and shape; the hashes lie in words `0..RUN`.
pub(super) const META: usize = RUN;
/// The first holder record of a run.
pub(super) const RECORDS: usize = RUN + 1;
/// A first choice this full sends new nodes to the emptier of both.
const FIRST_CHOICE_LOAD: usize = WAYS - WAYS / 4;
/// The bits that tags can have in a mask of ways; other lanes of the same words are marks.
const TAG_BITS: u64 = tag_bits();
const LOCKED: u64 = 1;
const SPILLED: u64 = 2;
const VERSION_STEP: u64 = 4;
const ATTEMPTS: usize = 64;

/// What a node holds: the tag's lowest bit says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Run,
    Extra,
}

/// A key's two sets and its tag.
#[derive(Clone, Copy)]
pub(super) struct Home {
    sets: [u32; 2],
    tag: u16,
    key: u64,
}

impl Home {
    /// The node's first word.
    pub(super) fn key(&self) -> u64 {
        self.key
    }
}

/// Where a key's node probably is: ways of one set whose tag agrees.
#[derive(Clone, Copy)]
pub(super) struct Located {
    home: Home,
    set: u32,
    version: u64,
    ways: u64,
}

impl Located {
    /// Whether the headers rule the key out, as far as a look without a lock can tell.
    pub(super) fn is_absent(&self) -> bool {
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
pub(super) struct Found {
    pub(super) set: u32,
    pub(super) way: u8,
    /// Leading blocks of the asked path that the run has.
    pub(super) same: u8,
    /// Blocks that the run has.
    pub(super) length: u8,
    pub(super) mark: u16,
    pub(super) version: u64,
}

pub(super) struct Table {
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
    pub(super) const SET_BYTES: usize = SET_LINES * size_of::<Line>();

    /// `None` if the system cannot allocate this much.
    pub(super) fn new(sets: usize) -> Option<Table> {
        let lines = Lines::new(sets * SET_LINES)?;
        let written = (0..Self::chunk_words(sets)).map(|_| AtomicU64::new(0)).collect();
        Some(Table { lines, sets: sets as u32, written, spilled: AtomicU64::new(0) })
    }

    /// Bytes of a table with this many sets.
    pub(super) fn bytes(sets: usize) -> usize {
        sets * Self::SET_BYTES + Self::chunk_words(sets) * size_of::<AtomicU64>() + Lines::SLACK
    }

    /// As many sets as fit into this many bytes.
    pub(super) fn sets_in(bytes: usize) -> usize {
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

    pub(super) fn capacity(&self) -> usize {
        self.sets as usize * WAYS
    }

    pub(super) fn home(&self, key: u64, kind: Kind) -> Home {
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

    /// Prefetches the header that the key is looked for in, and the second one where keys often lie there:
    /// a processor has few outstanding prefetches at a time.
    #[inline]
    pub(super) fn prefetch(&self, home: &Home) {
        let often = self.spilled.load(Ordering::Relaxed) * 8 > u64::from(self.sets);
        for &set in &home.sets[..1 + usize::from(often)] {
            if self.is_written(set) {
                prefetch(self.header(set));
            }
        }
    }

    /// Where the key is absent: fetches the lines that an [`insert`](Self::insert) would write to, as it
    /// looks now.
    #[inline]
    pub(super) fn prefetch_place(&self, located: &Located, now: u16) {
        if !located.is_absent() {
            return;
        }
        let Target { set, way, .. } = self.target(&located.home, now);
        if self.is_written(set) {
            prefetch(self.line(set, way, 0));
            prefetch(self.line(set, way, 1));
        }
    }

    /// Looks at headers only and fetches the lines that [`read`](Self::read) will want.
    #[inline(always)]
    pub(super) fn locate(&self, home: Home) -> Located {
        let [first, second] = home.sets;
        let mut located = self.locate_in(first, home);
        if located.ways == 0 && located.version & SPILLED != 0 {
            located = self.locate_in(second, home);
        }
        if located.ways != 0 {
            let way = way_of(located.ways);
            prefetch(self.line(located.set, way, 0));
            prefetch(self.line(located.set, way, 1));
        }
        located
    }

    #[inline(always)]
    fn locate_in(&self, set: u32, home: Home) -> Located {
        if !self.is_written(set) {
            return Located { home, set, version: 0, ways: 0 };
        }
        let version = self.version(set).load(Ordering::Acquire);
        Located { home, set, version, ways: self.tagged(set, home.tag) }
    }

    /// The located node compared with `path` (whose first block is the key).
    #[inline]
    pub(super) fn read(&self, located: &Located, path: &[u64]) -> Option<Found> {
        if located.version & LOCKED == 0 {
            let found = self.compare(located, path);
            let [first, _] = located.home.sets;
            let elsewhere = located.set == first && located.version & SPILLED != 0;
            if self.is_current(located.set, located.version) && (found.is_some() || !elsewhere) {
                return found;
            }
        }
        self.probe(&located.home, path)
    }

    /// The node of `home`'s key, compared with `path`: located and read in one call, with retries.
    pub(super) fn probe(&self, home: &Home, path: &[u64]) -> Option<Found> {
        for set in home.sets {
            let mut spilled = true;
            for _ in 0..ATTEMPTS {
                let located = self.locate_in(set, *home);
                if located.version & LOCKED != 0 {
                    spin();
                    continue;
                }
                let found = self.compare(&located, path);
                if self.is_current(set, located.version) {
                    if found.is_some() {
                        return found;
                    }
                    spilled = located.version & SPILLED != 0;
                    break;
                }
            }
            if !spilled {
                return None;
            }
        }
        None
    }

    #[inline]
    fn compare(&self, located: &Located, path: &[u64]) -> Option<Found> {
        let Located { home, set, version, mut ways } = *located;
        while ways != 0 {
            let way = way_of(ways);
            ways &= ways - 1;
            let hashes = self.line(set, way, 0);
            if hashes.0[0].load(Ordering::Relaxed) != home.key {
                continue;
            }
            let length = Meta(self.word(set, way, META).load(Ordering::Relaxed)).length();
            let same = agreeing(hashes, path).min(length);
            return Some(Found {
                set,
                way: way as u8,
                same: same as u8,
                length: length as u8,
                mark: self.mark(set, way),
                version,
            });
        }
        None
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
    pub(super) fn is_unchanged(&self, found: &Found) -> bool {
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
    pub(super) fn touch(&self, found: &Found, lane: u16) -> bool {
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
    pub(super) fn lock_found(&self, found: &Found) -> Option<Guard<'_>> {
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

    /// Writes a new node for `home`'s key where it finds room, or in place of the node least
    /// recently used in both sets. `age` tells how old a recency lane is.
    ///
    /// `None` where another thread writes there; the caller does without.
    pub(super) fn insert(
        &self,
        home: &Home,
        lane: u16,
        now: u16,
        node: impl FnOnce(u32) -> [u64; NODE_WORDS],
    ) -> Option<Inserted> {
        let Target { set, way, mut version, spills, evicts } = self.target(home, now);
        if let Some(first_version) = spills {
            let spilled = self.mark_spilled(home.sets[0], first_version)?;
            version = if set == home.sets[0] { spilled } else { version };
        }
        if !self.is_written(set) {
            self.take(set);
        }
        let guard = self.lock(set, version)?;
        // A nonce that no earlier node in this set had.
        let words = node((version / VERSION_STEP) as u32);
        for (index, value) in words.into_iter().enumerate() {
            self.word(set, way, index).store(value, Ordering::Relaxed);
        }
        self.set_lane(set, way, home.tag);
        self.set_lane(set, WAYS + way, lane);
        drop(guard);
        Some(Inserted { evicted: evicts })
    }

    /// Where a new node of this key belongs, as each set is at the version that comes with it. The second
    /// set is looked at only where the first has no room to spare.
    #[inline]
    fn target(&self, home: &Home, now: u16) -> Target {
        let [first, second] = home.sets;
        let (version, free) = self.free_ways(first);
        if WAYS - (free.count_ones() as usize) < FIRST_CHOICE_LOAD {
            let way = way_of(free);
            return Target { set: first, version, way, spills: None, evicts: false };
        }
        let (other_version, other_free) = self.free_ways(second);
        let spills = Some(version);
        if free | other_free == 0 {
            let (way, age) = self.oldest(first, now);
            let (other_way, other_age) = self.oldest(second, now);
            return if age >= other_age {
                Target { set: first, version, way, spills, evicts: true }
            } else {
                Target { set: second, version: other_version, way: other_way, spills, evicts: true }
            };
        }
        if other_free.count_ones() >= free.count_ones().max(1) {
            let way = way_of(other_free);
            Target { set: second, version: other_version, way, spills, evicts: false }
        } else {
            Target { set: first, version, way: way_of(free), spills, evicts: false }
        }
    }

    /// The ways of a set that hold nothing, and the version that this was true at.
    #[inline]
    fn free_ways(&self, set: u32) -> (u64, u64) {
        if !self.is_written(set) {
            return (0, TAG_BITS);
        }
        let version = self.version(set).load(Ordering::Acquire);
        (version, self.tagged(set, 0))
    }

    /// Notes that keys whose first choice is this set may lie in their second.
    fn mark_spilled(&self, set: u32, version: u64) -> Option<u64> {
        if version & SPILLED != 0 {
            return Some(version).filter(|version| version & LOCKED == 0);
        }
        let mut guard = self.lock(set, version)?;
        self.spilled.fetch_add(1, Ordering::Relaxed);
        guard.version |= SPILLED;
        let version = guard.version + VERSION_STEP;
        drop(guard);
        Some(version)
    }

    /// The way used longest ago and its age.
    fn oldest(&self, set: u32, now: u16) -> (usize, u16) {
        let mut oldest = 0;
        for lane in WAYS..2 * WAYS {
            let age = now.wrapping_sub(self.lane(set, lane));
            // One comparison per way: the age above the way, which decides among equals.
            oldest = oldest.max(u32::from(age) << 16 | (lane - WAYS) as u32);
        }
        ((oldest & 0xffff) as usize, (oldest >> 16) as u16)
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
    pub(super) fn lines(&self, node: &Found) -> [&[AtomicU64; WORDS]; NODE_LINES] {
        let way = usize::from(node.way);
        [&self.line(node.set, way, 0).0, &self.line(node.set, way, 1).0]
    }

    #[inline]
    pub(super) fn word(&self, set: u32, way: usize, word: usize) -> &AtomicU64 {
        &self.line(set, way, word / WORDS).0[word % WORDS]
    }
}

/// How many of a run's hashes agree with the beginning of `path`.
#[inline]
fn agreeing(hashes: &Line, path: &[u64]) -> usize {
    let Some(path) = path.first_chunk::<RUN>() else {
        let pairs = hashes.0.iter().zip(path);
        return pairs.take_while(|(hash, block)| hash.load(Ordering::Relaxed) == **block).count();
    };
    // No branch per block: where a path leaves a run is hard to predict.
    let mut equal = 0;
    for (index, (hash, block)) in hashes.0.iter().zip(path).enumerate() {
        equal |= u32::from(hash.load(Ordering::Relaxed) == *block) << index;
    }
    equal.trailing_ones() as usize
}

/// Where a new node goes.
struct Target {
    set: u32,
    way: usize,
    /// The set's.
    version: u64,
    /// The first set's version, if keys whose first choice it is may lie in their second from then on.
    spills: Option<u64>,
    evicts: bool,
}

/// What an insert did.
pub(super) struct Inserted {
    pub(super) evicted: bool,
}

/// The right to write to one set; ends with the next even version.
pub(super) struct Guard<'t> {
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

/// `[nonce: 32 | groups with extra nodes: 28 | length: 4]` of a run.
#[derive(Clone, Copy)]
pub(super) struct Meta(pub(super) u64);

impl Meta {
    pub(super) fn new(nonce: u32, length: usize) -> Meta {
        Meta(u64::from(nonce) << 32 | length as u64)
    }

    pub(super) fn length(self) -> usize {
        ((self.0 & 0xf) as usize).min(RUN)
    }

    pub(super) fn with_length(self, length: usize) -> Meta {
        Meta(self.0 & !0xf | length as u64)
    }

    pub(super) fn nonce(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn has_group(self, group: usize) -> bool {
        self.0 >> (4 + group % 28) & 1 == 1
    }

    pub(super) fn with_group(self, group: usize) -> Meta {
        Meta(self.0 | 1 << (4 + group % 28))
    }

    pub(super) fn is_wide(self) -> bool {
        self.0 & 0xffff_fff0 != 0
    }
}
