//! What a lookup found, on the caller's stack.

use arrayvec::ArrayVec;

use super::node::RUN;
use super::record::MAX_SLOTS;

/// Most holders that one lookup lists.
pub const MAX_HOLDERS: usize = 64;
/// Most nodes of a path that a lookup notes.
pub(super) const MAX_VISITS: usize = 32;
/// Most workers of which a lookup notes what reports say.
pub(super) const MAX_CUTS: usize = 8;

/// A worker that probably holds the first `blocks` blocks of the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Holder {
    /// The worker's slot.
    pub slot: u16,
    /// Leading resident blocks, at least 1.
    pub blocks: u32,
}

/// The result of [`PrefixTree::find`](super::PrefixTree::find): the holders, and how much each holds.
///
/// About 1.4 KiB, made to live on the stack; what is not in use there is never written.
#[derive(Clone, Debug)]
pub struct Matches {
    pub(super) holders: ArrayVec<Holder, MAX_HOLDERS>,
    pub(super) listed: [u64; MAX_SLOTS / 64],
    pub(super) complete: bool,
    pub(super) matched: u32,
    pub(super) visits: ArrayVec<Visit, MAX_VISITS>,
    /// What reports say of holders.
    pub(super) cuts: ArrayVec<Cut, MAX_CUTS>,
}

/// A node met on the way down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) start: u32,
    /// Whether every holder of its blocks is listed.
    pub(super) is_listed: bool,
    pub(super) node: super::table::Found,
}

/// What lowers, or may soon lower, the belief in one worker for one prompt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) slot: u16,
    pub(super) entry: u16,
    pub(super) key: u32,
    /// Blocks believed without it.
    pub(super) was: u32,
    /// Whether the prompt continues the path that was reported about.
    pub(super) continues: bool,
}

impl Visit {
    pub(super) fn new(start: usize, node: super::table::Found) -> Visit {
        Visit { start: start as u32, is_listed: false, node }
    }
}

impl Matches {
    /// An empty result.
    pub fn new() -> Matches {
        Matches {
            holders: ArrayVec::new_const(),
            listed: [0; MAX_SLOTS / 64],
            complete: true,
            matched: 0,
            visits: ArrayVec::new_const(),
            cuts: ArrayVec::new_const(),
        }
    }

    /// The holders found, the deepest match first.
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    /// Leading resident blocks of `slot`, 0 where it is not listed. Where the list is not
    /// [complete](Self::is_complete), [`PrefixTree::leading`](super::PrefixTree::leading) knows
    /// more.
    pub fn leading(&self, slot: u16) -> u32 {
        if !self.is_listed(slot) {
            return 0;
        }
        self.holders().iter().find(|holder| holder.slot == slot).map_or(0, |holder| holder.blocks)
    }

    /// Whether every holder is listed. A prefix that very many workers hold lists those with the
    /// deepest matches and some of the others.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Leading blocks that the tree knows at all, for any worker.
    pub fn known_blocks(&self) -> u32 {
        self.matched
    }

    pub(super) fn reset(&mut self) {
        self.holders.clear();
        self.listed = [0; MAX_SLOTS / 64];
        self.complete = true;
        self.matched = 0;
        self.visits.clear();
        self.cuts.clear();
    }

    /// Whether there is no room for another holder.
    pub(super) fn is_full(&self) -> bool {
        self.holders.is_full()
    }

    #[inline]
    pub(super) fn is_listed(&self, slot: u16) -> bool {
        let slot = usize::from(slot) % MAX_SLOTS;
        self.listed[slot / 64] >> (slot % 64) & 1 == 1
    }

    pub(super) fn list(&mut self, slot: u16, blocks: u32) {
        if self.is_listed(slot) {
            return;
        }
        // Nodes come deepest first; only holders of one node need to be put in order.
        let shallower =
            self.holders.iter().rev().take_while(|holder| holder.blocks < blocks).count();
        let place = self.holders.len() - shallower;
        if self.holders.try_insert(place, Holder { slot, blocks }).is_err() {
            self.complete = false;
            return;
        }
        let slot = usize::from(slot) % MAX_SLOTS;
        self.listed[slot / 64] |= 1 << (slot % 64);
    }

    /// Puts the holders in order again.
    pub(super) fn sort(&mut self) {
        self.holders.sort_unstable_by_key(|holder| std::cmp::Reverse(holder.blocks));
    }

    /// Notes a visit.
    pub(super) fn visit(&mut self, visit: Visit) {
        if self.visits.is_full() {
            self.forget_some();
        }
        self.visits.push(visit);
    }

    /// Forgets visits that bisection finds again: full runs, whole runs apart from their
    /// neighbours, not two in a row. Where there are none, every second visit is forgotten, which
    /// can only make a shallow match look shallower.
    fn forget_some(&mut self) {
        let regular = (0..MAX_VISITS).any(|index| self.is_regular(index));
        let mut kept = 0;
        let mut forgot = false;
        for index in 0..MAX_VISITS {
            let spare = if regular { self.is_regular(index) } else { index % 2 == 1 };
            forgot = spare && !forgot;
            if !forgot {
                self.visits[kept] = self.visits[index];
                kept += 1;
            }
        }
        self.visits.truncate(kept);
    }

    fn is_regular(&self, index: usize) -> bool {
        let [Some(above), Some(visit), Some(below)] =
            [index.wrapping_sub(1), index, index + 1].map(|index| self.visits.get(index))
        else {
            return false;
        };
        let apart = |upper: &Visit, lower: &Visit| (lower.start - upper.start) as usize % RUN;
        usize::from(visit.node.same) == RUN && apart(above, visit) == 0 && apart(visit, below) == 0
    }

    pub(super) fn visits(&self) -> &[Visit] {
        &self.visits
    }
}

impl Default for Matches {
    fn default() -> Matches {
        Matches::new()
    }
}
