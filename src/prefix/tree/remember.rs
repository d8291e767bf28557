//! After the decision: notes that the prompt's blocks go to one worker.

use super::find::{AHEAD, LOCATED};
use super::matches::{Matches, Visit};
use super::node::{META, Meta, NODE_WORDS, RECORDS, RUN};
use super::record::Record;
use super::slots::Registration;
use super::stats::Tally;
use super::table::{Found, Home, insert::Inserted};
use super::{PrefixTree, wide};
use crate::sync::Ordering;

/// A record's stamp is renewed once it is older than this share of the worker's capacity.
const STAMP_TOLERANCE: u64 = 64;

/// What [`PrefixTree::remember`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remembered {
    /// Whether the worker's registration was still current; nothing was remembered otherwise.
    pub accepted: bool,
    /// Blocks that the worker was believed not to hold.
    pub new_blocks: u32,
    /// Blocks by which the worker's clock went on beyond `new_blocks`, for the touch of old ones.
    pub aged_blocks: u32,
    /// Nodes written.
    pub inserted_nodes: u32,
    /// Nodes replaced to make room.
    pub evicted_nodes: u32,
    /// Inserts and touches left out because another thread wrote to the same place.
    pub skipped: u32,
}

/// The walk of one call.
struct Walk<'a> {
    blocks: &'a [u64],
    slot: u16,
    stamp: u64,
    /// Stamps up to this one are renewed.
    renew: u64,
    tally: Tally,
}

impl PrefixTree {
    /// Notes that the prompt of `blocks` goes to the worker in `slot`: its clock moves on by the
    /// blocks that are new to it, and the path becomes the most recently used.
    ///
    /// `matches` is what [`find`](Self::find) said of the same blocks. The path is walked again
    /// only where something changes: from its head when it has not been touched for a while,
    /// else from the last block that the worker holds.
    pub fn remember(
        &self,
        blocks: &[u64],
        matches: &Matches,
        slot: u16,
        registration: Registration,
    ) -> Remembered {
        if !self.slots.is_current(slot, registration) {
            return Remembered::default();
        }
        self.rejoin(matches, slot);
        let held = self.leading(blocks, matches, slot) as usize;
        let new_blocks = blocks.len().saturating_sub(held);
        let capacity = self.slots.capacity(slot);
        let deepest = self.deepest_record(blocks, matches, slot, held);
        let age = deepest.map_or(0, |record| self.slots.age(record));
        let aged = capacity.map_or(0, |capacity| half_rate(held, age, capacity, blocks));
        let stamp = self.slots.advance(slot, new_blocks as u64, aged);
        // Only now: see the argument in `slots`.
        if !self.slots.is_current(slot, registration) {
            return Remembered::default();
        }
        let tolerance = capacity.map_or(u64::MAX, |capacity| capacity / STAMP_TOLERANCE);
        let renew = stamp.saturating_sub(tolerance).min(stamp - 1);
        let stale = capacity.is_some() && deepest.is_some_and(|record| record.stamp() <= renew);
        let fresh = matches.visits().last().is_some_and(|visit| self.is_fresh(visit.node.mark));
        let resumed = resume(matches, held).filter(|_| fresh && !stale);
        let mut walk = Walk { blocks, slot, stamp, renew, tally: Tally::default() };
        self.walk(&mut walk, resumed);
        let tally = walk.tally;
        self.counters.add(tally);
        Remembered {
            accepted: true,
            new_blocks: new_blocks as u32,
            aged_blocks: aged as u32,
            inserted_nodes: tally.inserted as u32,
            evicted_nodes: tally.evicted as u32,
            skipped: tally.skipped as u32,
        }
    }

    /// The record of the last of the slot's leading blocks.
    fn deepest_record(
        &self,
        blocks: &[u64],
        matches: &Matches,
        slot: u16,
        held: usize,
    ) -> Option<Record> {
        if held == 0 || self.slots.capacity(slot).is_none() {
            return None;
        }
        let visit = matches.visits().iter().rev().find(|visit| (visit.start as usize) < held)?;
        self.record_of(&visit.node, blocks[visit.start as usize], slot)
    }

    /// The first runs were prefetched by the lookup: see [`find`](PrefixTree::find).
    fn walk(&self, walk: &mut Walk<'_>, resumed: Option<&Visit>) {
        let mut start = resumed.map_or(0, |visit| visit.start as usize);
        let mut known = resumed.map(|visit| visit.node).filter(|n| self.table.is_unchanged(n));
        while start < walk.blocks.len() {
            self.prefetch_run(walk.blocks, start + AHEAD * RUN);
            if let Some(located) = self.locate(walk.blocks, start + LOCATED * RUN) {
                self.table.prefetch_place(&located, self.now());
            }
            let path = &walk.blocks[start..];
            if let Some(node) = known.take() {
                start += self.extend(walk, start, &node);
                continue;
            }
            let home = self.run_home(path[0]);
            start += match self.table.probe(&home, path) {
                Some(node) => self.extend(walk, start, &node),
                None => self.insert_run(walk, start, &home),
            };
        }
    }

    /// A new node at `start`; returns how many blocks it covers.
    fn insert_run(&self, walk: &mut Walk<'_>, start: usize, home: &Home) -> usize {
        let path = &walk.blocks[start..];
        let run = &path[..path.len().min(RUN)];
        let record = Record::new(walk.slot, run.len(), walk.stamp);
        let inserted = self.table.insert(home, self.mark(start), self.now(), |nonce| {
            let mut words = [0; NODE_WORDS];
            words[..run.len()].copy_from_slice(run);
            words[META] = Meta::new(nonce, run.len()).0;
            words[RECORDS] = record.0;
            words
        });
        self.count_insert(inserted, run[0], &mut walk.tally);
        run.len()
    }

    pub(super) fn count_insert(&self, inserted: Option<Inserted>, key: u64, tally: &mut Tally) {
        match inserted {
            Some(inserted) => {
                tally.inserted += 1;
                tally.evicted += u64::from(inserted.evicted);
                self.age_table(key);
            }
            None => tally.skipped += 1,
        }
    }

    /// Makes the walk's slot a holder of an existing node and fills its tail; returns how many
    /// blocks of the path the node covers then.
    fn extend(&self, walk: &mut Walk<'_>, start: usize, node: &Found) -> usize {
        if !self.is_fresh(node.mark) && !self.table.touch(node, self.mark(start)) {
            walk.tally.skipped += 1;
        }
        let (same, length) = (usize::from(node.same), usize::from(node.length));
        let path = &walk.blocks[start..];
        let grown = if same == length { path.len().min(RUN) } else { same };
        if grown > length {
            return self.grow(walk, start, node, grown);
        }
        if !self.renew(walk, start, node, same) {
            self.grow(walk, start, node, same);
        }
        same
    }

    /// Renews the slot's record where there is one of at least this length. `false` where there
    /// is none.
    fn renew(&self, walk: &mut Walk<'_>, start: usize, node: &Found, length: usize) -> bool {
        let inline = self.inline_record(node, walk.slot);
        let (place, word, record) = match inline {
            Some((word, record)) => (*node, word, record),
            None => {
                let meta = self.meta(node);
                if !meta.has_group(wide::group_of(walk.slot)) {
                    return false;
                }
                match self.extra_record(node, meta, walk.blocks[start], walk.slot) {
                    Some((extra, record)) => (extra, wide::word_of(walk.slot), record),
                    None => return false,
                }
            }
        };
        if !self.slots.is_resident(record) || record.length() < length {
            return false;
        }
        if !self.is_fresh(place.mark) && place.set != node.set {
            self.table.touch(&place, self.now());
        }
        if record.stamp() <= walk.renew && self.slots.capacity(walk.slot).is_some() {
            let new = Record::new(walk.slot, record.length(), walk.stamp);
            let word = self.table.word(place.set, usize::from(place.way), word);
            // A lost race means that the record is newer or gone: nothing to do in both cases.
            let _ = word.compare_exchange(record.0, new.0, Ordering::Relaxed, Ordering::Relaxed);
        }
        true
    }

    /// Under the set's lock: the run gets `length` blocks, the slot a record of all of them.
    fn grow(&self, walk: &mut Walk<'_>, start: usize, node: &Found, length: usize) -> usize {
        let path = &walk.blocks[start..];
        let new = Record::new(walk.slot, length, walk.stamp);
        let Some(guard) = self.table.lock_found(node) else {
            walk.tally.skipped += 1;
            // What follows a run that has room must be in the run, so the rest waits for another time.
            let whole = length <= usize::from(node.same);
            return if whole { length } else { path.len() };
        };
        let way = usize::from(node.way);
        let meta_word = self.table.word(node.set, way, META);
        let mut meta = self.meta(node);
        for (index, &block) in path.iter().enumerate().take(length).skip(usize::from(node.length)) {
            self.table.word(node.set, way, index).store(block, Ordering::Relaxed);
        }
        meta = meta.with_length(length.max(meta.length()));
        let group = wide::group_of(walk.slot);
        let inline = self.place_for(node, walk.slot, meta.has_group(group));
        if let Some(word) = inline {
            let place = self.table.word(node.set, way, word);
            let old = Record(place.load(Ordering::Relaxed));
            place.store(self.merged(old, new).0, Ordering::Relaxed);
        } else {
            meta = meta.with_group(group);
        }
        meta_word.store(meta.0, Ordering::Relaxed);
        drop(guard);
        if inline.is_none() {
            self.write_extra(node, meta, path[0], new, &mut walk.tally);
        }
        length
    }

    /// The word among a node's own records where the slot's belongs: its own, else one that is
    /// free or no longer resident. `None` sends it to an extra node.
    fn place_for(&self, node: &Found, slot: u16, has_extra: bool) -> Option<usize> {
        let own = self.inline_record(node, slot).map(|(word, _)| word);
        if own.is_some() || has_extra {
            return own;
        }
        (RECORDS..NODE_WORDS).find(|&word| {
            let value = self.table.word(node.set, usize::from(node.way), word);
            !self.slots.is_resident(Record(value.load(Ordering::Relaxed)))
        })
    }
}

/// Where the walk begins when nothing above `held` needs a touch.
fn resume(matches: &Matches, held: usize) -> Option<&Visit> {
    matches.visits().iter().rev().find(|visit| (visit.start as usize) < held.max(1))
}

/// Half of (age / capacity) for each of `held` blocks, rounded by chance.
fn half_rate(held: usize, age: u64, capacity: u64, blocks: &[u64]) -> u64 {
    let whole = u128::from(capacity.max(1)) * 2;
    let draw = blocks.last().map_or(0, |&block| block.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let chance = (u128::from(draw) * whole) >> 64;
    ((held as u128 * u128::from(age.min(capacity)) + chance) / whole) as u64
}
