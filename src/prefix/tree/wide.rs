//! Extra nodes: the holders that a run has no room for, fifteen slots to a node.

use super::PrefixTree;
use super::matches::Matches;
use super::node::{Meta, NODE_WORDS};
use super::record::Record;
use super::stats::Tally;
use super::table::{Found, Home, Kind};
use crate::sync::Ordering;

/// Records of one extra node; word 0 is its key.
pub(super) const PER_GROUP: usize = NODE_WORDS - 1;
/// Extra nodes that one lookup reads for one run.
const MAX_GROUPS_READ: usize = 5;

impl PrefixTree {
    fn group_home(&self, node: &Found, meta: Meta, block: u64, group: usize) -> Home {
        // The nonce is unique within the set, so both name the node for all time.
        let place = (u64::from(node.set) << 32) | u64::from(meta.nonce());
        let mut key = block ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        key = (key ^ (key >> 29)).wrapping_add(group as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.table.home(key ^ (key >> 31), Kind::Extra)
    }

    /// Shows `see` a run's extra nodes: of all groups or, where there are many, of some that differ
    /// from block to block; what is listed is not complete then.
    #[inline(never)]
    pub(super) fn for_each_extra(
        &self,
        node: &Found,
        meta: Meta,
        block: u64,
        matches: &mut Matches,
        mut see: impl FnMut(&Found, &mut Matches),
    ) {
        let groups = self.slots.used().div_ceil(PER_GROUP);
        let first = if groups <= MAX_GROUPS_READ {
            0
        } else {
            matches.complete = false;
            (block >> 32) as usize % groups
        };
        let mut located = [None; MAX_GROUPS_READ];
        for (step, place) in located.iter_mut().enumerate().take(groups) {
            let group = if first + step < groups { first + step } else { first + step - groups };
            if meta.has_group(group) {
                let home = self.group_home(node, meta, block, group);
                self.table.prefetch(&home);
                *place = Some(home);
            }
        }
        let located = located.map(|home| home.map(|home| self.table.locate(home)));
        for located in located.into_iter().flatten() {
            if let Some(extra) = self.table.read(&located, &[]) {
                see(&extra, matches);
            }
        }
    }

    /// The slot's record in the extra node of its group.
    pub(super) fn extra_record(
        &self,
        node: &Found,
        meta: Meta,
        block: u64,
        slot: u16,
    ) -> Option<(Found, Record)> {
        let home = self.group_home(node, meta, block, group_of(slot));
        let extra = self.table.probe(&home, &[])?;
        let value = self.table.word(extra.set, usize::from(extra.way), word_of(slot));
        let record = Record(value.load(Ordering::Relaxed));
        let valid = self.table.is_unchanged(&extra) && record.exists() && record.slot() == slot;
        valid.then_some((extra, record))
    }

    /// Writes the slot's record to the extra node of its group, making it where needed. The
    /// node has noted the group before, so that a lookup never misses what is written here.
    pub(super) fn write_extra(
        &self,
        node: &Found,
        meta: Meta,
        block: u64,
        new: Record,
        tally: &mut Tally,
    ) {
        let (group, word) = (group_of(new.slot()), word_of(new.slot()));
        let home = self.group_home(node, meta, block, group);
        let mark = self.now();
        if let Some(extra) = self.table.probe(&home, &[]) {
            if !self.is_fresh(extra.mark) {
                self.table.touch(&extra, mark);
            }
            let Some(_guard) = self.table.lock_found(&extra) else {
                tally.skipped += 1;
                return;
            };
            let place = self.table.word(extra.set, usize::from(extra.way), word);
            let old = Record(place.load(Ordering::Relaxed));
            place.store(self.merged(old, new).0, Ordering::Relaxed);
            return;
        }
        let inserted = self.table.insert(&home, mark, mark, |_| {
            let mut words = [0; NODE_WORDS];
            words[0] = home.key();
            words[word] = new.0;
            words
        });
        self.count_insert(inserted, home.key(), tally);
    }

    /// What replaces `old` when `new` arrives: both together where `old` is resident and of the
    /// same slot.
    ///
    /// A walk that was overtaken by a new registration brings a dead record, which must not be joined to
    /// what the new registration wrote. That was written under the same lock, so the new registration is
    /// visible here and the walk's record is seen to be dead.
    pub(super) fn merged(&self, old: Record, new: Record) -> Record {
        if old.slot() != new.slot() || !self.slots.is_resident(old) {
            return new;
        }
        if !self.slots.is_resident(new) {
            return old;
        }
        let length = old.length().max(new.length());
        Record::new(new.slot(), length, old.stamp().max(new.stamp()))
    }
}

/// The group whose extra node a slot's record goes to.
pub(super) fn group_of(slot: u16) -> usize {
    usize::from(slot) / PER_GROUP
}

/// The word of the extra node where a slot's record lies.
pub(super) fn word_of(slot: u16) -> usize {
    1 + usize::from(slot) % PER_GROUP
}
