//! Lookup: down the path by galloping, then up again to list who holds how much.

use super::matches::{Matches, Visit};
use super::record::Record;
use super::table::{Found, META, RECORDS, RUN};
use super::wide::MAX_GROUPS_READ;
use super::{PrefixTree, table};
use crate::sync::Ordering;

/// Full runs in a row after which the search takes longer steps.
const STEADY: usize = 8;
/// Runs whose headers are fetched ahead.
pub(super) const AHEAD: usize = 4;
const INLINE: usize = table::NODE_WORDS - RECORDS;
/// Records read from one node: its own and those of the extra nodes looked at.
const MAX_READ: usize = INLINE + MAX_GROUPS_READ * super::wide::PER_GROUP;

/// Resident holders of one node that are not listed yet.
pub(super) struct Unlisted {
    found: [(u16, u8); MAX_READ],
    count: usize,
}

impl Unlisted {
    fn as_slice(&self) -> &[(u16, u8)] {
        &self.found[..self.count]
    }

    pub(super) fn push(&mut self, record: Record) {
        if let Some(place) = self.found.get_mut(self.count) {
            *place = (record.slot(), record.length() as u8);
            self.count += 1;
        }
    }
}

impl PrefixTree {
    /// Lists in `matches` which workers probably hold how many of the leading `blocks`.
    ///
    /// Nothing is listed that was not remembered for that worker since it was registered. The
    /// work grows with the logarithm of a long prompt's length and with its divergences.
    pub fn find(&self, blocks: &[u64], matches: &mut Matches) {
        matches.reset();
        for run in 1..AHEAD {
            self.prefetch_run(blocks, run * RUN);
        }
        self.descend(blocks, matches);
        if let Some(deepest) = matches.visits().last() {
            matches.matched = deepest.start + u32::from(deepest.node.same);
        }
        for index in (0..matches.visited).rev() {
            if matches.count >= self.slots.registered() {
                break;
            }
            let below = matches.visits().get(index + 1).map(|visit| visit.start as usize);
            let visit = matches.visits[index];
            let unlisted = self.unlisted(blocks, &visit, matches);
            self.list_between(blocks, visit, unlisted, below, matches);
        }
    }

    #[inline]
    pub(super) fn prefetch_run(&self, blocks: &[u64], start: usize) {
        if let Some(&block) = blocks.get(start) {
            self.table.prefetch(&self.run_home(block));
        }
    }

    fn probe_at(&self, blocks: &[u64], start: usize) -> Option<Visit> {
        let path = blocks.get(start..)?;
        let home = self.run_home(*path.first()?);
        let node = self.table.probe(&home, path)?;
        Some(Visit { start: start as u32, node })
    }

    /// Visits nodes down to the end of what the tree knows of the path.
    fn descend(&self, blocks: &[u64], matches: &mut Matches) {
        let mut start = 0;
        let mut steady = 0;
        while let Some(visit) = self.probe_at(blocks, start) {
            self.prefetch_run(blocks, start + AHEAD * RUN);
            matches.visit(visit);
            start += usize::from(visit.node.same);
            steady = if usize::from(visit.node.same) == RUN { steady + 1 } else { 0 };
            if steady == STEADY {
                steady = 0;
                start = self.gallop(blocks, start - RUN, matches);
            }
        }
    }

    /// From the full run at `good`, the deepest node that lies a multiple of runs below it and
    /// that bisection finds; returns the block after it.
    fn gallop(&self, blocks: &[u64], mut good: usize, matches: &mut Matches) -> usize {
        let mut step = 2 * RUN;
        let mut same = RUN;
        let mut bad = loop {
            match self.probe_at(blocks, good + step) {
                Some(visit) => {
                    good += step;
                    same = usize::from(visit.node.same);
                    matches.visit(visit);
                    step *= 2;
                }
                None => break good + step,
            }
        };
        while bad - good > RUN {
            let middle = good + ((bad - good) / (2 * RUN)) * RUN;
            match self.probe_at(blocks, middle) {
                Some(visit) => {
                    good = middle;
                    same = usize::from(visit.node.same);
                    matches.visit(visit);
                }
                None => bad = middle,
            }
        }
        good + same
    }

    /// Lists the `unlisted` holders of `visit`, each with the deepest node above `below` that it
    /// holds. Recursion halves the distance, so its depth is the logarithm of the path's length.
    fn list_between(
        &self,
        blocks: &[u64],
        visit: Visit,
        unlisted: Unlisted,
        below: Option<usize>,
        matches: &mut Matches,
    ) {
        if unlisted.count == 0 {
            return;
        }
        let start = visit.start as usize;
        let distance = below.map_or(0, |below| below - start);
        if distance < 2 * RUN {
            for &(slot, length) in unlisted.as_slice() {
                matches.list(slot, visit.start + u32::from(length.min(visit.node.same)));
            }
            return;
        }
        let middle = start + (distance / (2 * RUN)) * RUN;
        if let Some(deeper) = self.probe_at(blocks, middle) {
            let held = self.unlisted(blocks, &deeper, matches);
            self.list_between(blocks, deeper, held, below, matches);
        }
        let rest = self.unlisted(blocks, &visit, matches);
        self.list_between(blocks, visit, rest, Some(middle), matches);
    }

    /// The resident holders of a node that are not listed yet.
    fn unlisted(&self, blocks: &[u64], visit: &Visit, matches: &mut Matches) -> Unlisted {
        let mut node = visit.node;
        for _ in 0..3 {
            let mut unlisted = Unlisted { found: [(0, 0); MAX_READ], count: 0 };
            self.inline_holders(&node, matches, &mut unlisted);
            if self.table.is_unchanged(&node) {
                if table::Meta(node.meta).is_wide() {
                    self.extra_holders(&node, blocks[visit.start as usize], matches, &mut unlisted);
                }
                return unlisted;
            }
            let Some(again) = self.probe_at(blocks, visit.start as usize) else { break };
            node = again.node;
        }
        Unlisted { found: [(0, 0); MAX_READ], count: 0 }
    }

    #[inline]
    fn inline_holders(&self, node: &Found, matches: &Matches, unlisted: &mut Unlisted) {
        for word in RECORDS..table::NODE_WORDS {
            let value = self.table.word(node.set, usize::from(node.way), word);
            let record = Record(value.load(Ordering::Relaxed));
            if record.exists()
                && !matches.is_listed(record.slot())
                && self.slots.is_resident(record)
            {
                unlisted.push(record);
            }
        }
    }

    /// Leading blocks that `slot` probably holds, where [`find`](Self::find) did not list it
    /// because very many workers hold the prefix. `blocks` are those that `matches` is of.
    pub fn leading(&self, blocks: &[u64], matches: &Matches, slot: u16) -> u32 {
        if matches.complete || matches.is_listed(slot) {
            return matches.leading(slot);
        }
        for visit in matches.visits().iter().rev() {
            let Some(visit) = self.probe_at(blocks, visit.start as usize) else { continue };
            let block = blocks[visit.start as usize];
            let record = self.record_of(&visit.node, block, slot);
            if let Some(record) = record.filter(|&record| self.slots.is_resident(record)) {
                let same = usize::from(visit.node.same);
                return visit.start + record.length().min(same) as u32;
            }
        }
        0
    }

    /// The record that `slot` has in a node or in its extra nodes, if the node still is what it
    /// was.
    pub(super) fn record_of(&self, node: &Found, block: u64, slot: u16) -> Option<Record> {
        let inline = self.inline_record(node, slot).map(|(_, record)| record);
        if !self.table.is_unchanged(node) {
            return None;
        }
        inline.or_else(|| self.extra_record(node, block, slot).map(|(_, record)| record))
    }

    /// The word and content of the slot's record among a node's own.
    pub(super) fn inline_record(&self, node: &Found, slot: u16) -> Option<(usize, Record)> {
        (RECORDS..table::NODE_WORDS).find_map(|word| {
            let value = self.table.word(node.set, usize::from(node.way), word);
            let record = Record(value.load(Ordering::Relaxed));
            (record.exists() && record.slot() == slot).then_some((word, record))
        })
    }
}

const _: () = assert!(META < RECORDS);
