//! Writing a new node: which of a key's two sets takes it, and whose place it takes there.

use super::{Home, LOCKED, Located, SPILLED, TAG_BITS, Table, VERSION_STEP, WAYS, way_of};
use crate::prefix::tree::line::prefetch;
use crate::prefix::tree::node::NODE_WORDS;
use crate::sync::Ordering;

/// A first choice this full sends new nodes to the emptier of both.
const FIRST_CHOICE_LOAD: usize = WAYS - WAYS / 4;

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
pub(crate) struct Inserted {
    pub(crate) evicted: bool,
}

impl Table {
    /// Where the key is absent: fetches the lines that an [`insert`](Self::insert) would write to, as it
    /// looks now.
    #[inline]
    pub(crate) fn prefetch_place(&self, located: &Located, now: u16) {
        if !located.is_absent() {
            return;
        }
        let Target { set, way, .. } = self.target(&located.home, now);
        if self.is_written(set) {
            prefetch(self.line(set, way, 0));
            prefetch(self.line(set, way, 1));
        }
    }

    /// Writes a new node for `home`'s key where it finds room, or in place of the node least
    /// recently used in both sets. `age` tells how old a recency lane is.
    ///
    /// `None` where another thread writes there; the caller does without.
    pub(crate) fn insert(
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
}
