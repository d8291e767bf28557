//! Lookup: down the path by galloping, then up again to list who holds how much.

use super::matches::{MAX_HOLDERS, Matches, Visit};
use super::record::Record;
use super::table::{Found, META, Meta, NODE_WORDS, RECORDS, RUN};
use super::wide::group_of;
use super::{PrefixTree, wide};
use crate::sync::Ordering;

/// Full runs in a row after which the search takes longer steps.
const STEADY: usize = 4;
/// Places that one round of the longer search looks at together, so that their lines arrive
/// together.
const FAN: usize = 8;
/// Runs whose headers are fetched ahead.
pub(super) const AHEAD: usize = 6;

/// Resident holders of one node that are not listed yet; no more than a list has room for.
pub(super) struct Unlisted {
    records: [Record; MAX_HOLDERS],
    pub(super) count: usize,
}

impl Unlisted {
    #[inline]
    fn new() -> Unlisted {
        Unlisted { records: [Record(0); MAX_HOLDERS], count: 0 }
    }

    fn as_slice(&self) -> &[Record] {
        &self.records[..self.count]
    }

    #[inline]
    fn push(&mut self, record: Record) {
        if let Some(place) = self.records.get_mut(self.count) {
            *place = record;
            self.count += 1;
        }
    }
}

/// Most steps of one bisection.
const MAX_DEPTH: u32 = 48;

/// The blocks between two nodes of a path that a search has to fill.
#[derive(Clone, Copy)]
struct Gap {
    /// The next place known to have no node, or `end`.
    hole: Option<usize>,
    /// The next node whose holders are listed already.
    end: Option<usize>,
    depth: u32,
}

impl Gap {
    /// What lies below the middle.
    fn lower(self) -> Gap {
        Gap { depth: self.depth + 1, ..self }
    }

    /// What lies above the middle.
    fn upper(self, middle: usize) -> Gap {
        Gap { hole: Some(middle), depth: self.depth + 1, ..self }
    }
}

impl PrefixTree {
    /// Lists in `matches` which workers probably hold how many of the leading `blocks`.
    ///
    /// Nothing is listed that was not remembered for that worker since it was registered. The
    /// work grows with the logarithm of a long prompt's length and with its divergences.
    pub fn find(&self, blocks: &[u64], matches: &mut Matches) {
        matches.reset();
        for run in 0..AHEAD {
            self.prefetch_run(blocks, run * RUN);
        }
        self.descend(blocks, matches);
        if let Some(deepest) = matches.visits().last() {
            matches.matched = deepest.start + u32::from(deepest.node.same);
        }
        let registered = self.slots.registered();
        let mut below = None;
        for index in (0..matches.visited).rev() {
            if matches.count >= registered {
                break;
            }
            let visit = matches.visits[index];
            let gap = Gap { hole: below, end: below, depth: 0 };
            self.list_between(blocks, visit, gap, matches);
            below = Some(visit.start as usize);
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

    /// Visits nodes down to the end of what the tree knows of the path. While a node is compared,
    /// the lines of the next one are on their way.
    fn descend(&self, blocks: &[u64], matches: &mut Matches) {
        let locate = |start: usize| {
            let block = blocks.get(start)?;
            Some(self.table.locate(self.run_home(*block))).filter(|found| !found.is_absent())
        };
        let (mut start, mut steady) = (0, 0);
        let mut located = locate(0);
        while let Some(here) = located {
            self.prefetch_run(blocks, start + AHEAD * RUN);
            let next = locate(start + RUN);
            let Some(node) = self.table.read(&here, &blocks[start..]) else { return };
            matches.visit(Visit { start: start as u32, node });
            start += usize::from(node.same);
            let full = usize::from(node.same) == RUN;
            steady = if full { steady + 1 } else { 0 };
            located = if full { next } else { locate(start) };
            if steady == STEADY && blocks.len() > start + FAN * RUN {
                steady = 0;
                start = self.gallop(blocks, start - RUN, matches);
                located = locate(start);
            }
        }
    }

    /// From the full run at `good`, the deepest node that lies a multiple of runs below it, as far
    /// as a search that narrows down by a factor of [`FAN`] a round finds it; returns the block
    /// after what agrees there.
    fn gallop(&self, blocks: &[u64], mut good: usize, matches: &mut Matches) -> usize {
        let mut same = RUN;
        let mut bad = good + (blocks.len() - good).next_multiple_of(RUN);
        while bad - good > RUN {
            let stride = ((bad - good) / RUN).div_ceil(FAN).max(1) * RUN;
            let places = (1..=FAN).map(|step| good + step * stride).take_while(|&at| at < bad);
            places.clone().for_each(|at| self.prefetch_run(blocks, at));
            let mut located = [None; FAN];
            for (slot, at) in located.iter_mut().zip(places) {
                *slot = Some((at, self.table.locate(self.run_home(blocks[at]))));
            }
            for (at, here) in located.into_iter().flatten().rev() {
                let found = self.table.read(&here, &blocks[at..]);
                if let Some(node) = found {
                    good = at;
                    same = usize::from(node.same);
                    matches.visit(Visit { start: at as u32, node });
                    break;
                }
                bad = at;
            }
        }
        good + same
    }

    /// Lists the holders of `visit` that are not listed yet, each with the deepest node above
    /// `gap.end` that it holds, by bisection.
    ///
    /// The search downwards may have jumped over a stretch whose runs lie at other places. Then
    /// there is no node in the middle; `gap.hole` comes closer until the run before the odd stretch
    /// is found, and what follows that run is searched in its turn.
    fn list_between(&self, blocks: &[u64], visit: Visit, gap: Gap, matches: &mut Matches) {
        let start = visit.start as usize;
        let distance = gap.hole.map_or(0, |hole| hole.saturating_sub(start));
        if distance >= 2 * RUN && gap.depth < MAX_DEPTH {
            if !self.has_unlisted(blocks, &visit, matches) {
                return;
            }
            let middle = start + (distance / (2 * RUN)) * RUN;
            let mut above = gap.upper(middle);
            if let Some(found) = self.probe_at(blocks, middle) {
                self.list_between(blocks, found, gap.lower(), matches);
                above.end = Some(middle);
            }
            return self.list_between(blocks, visit, above, matches);
        }
        let next = start + usize::from(visit.node.same);
        if gap.end > Some(next) && gap.depth < MAX_DEPTH {
            if let Some(found) = self.probe_at(blocks, next) {
                let rest = Gap { hole: gap.end, end: gap.end, depth: gap.depth + 1 };
                self.list_between(blocks, found, rest, matches);
            }
        }
        let mut found = Unlisted::new();
        self.unlisted(blocks, &visit, matches, &mut found);
        for &record in found.as_slice() {
            let blocks = record.length().min(usize::from(visit.node.same));
            matches.list(record.slot(), visit.start + blocks as u32);
        }
    }

    fn has_unlisted(&self, blocks: &[u64], visit: &Visit, matches: &mut Matches) -> bool {
        let mut found = Unlisted::new();
        self.unlisted(blocks, visit, matches, &mut found);
        found.count > 0
    }

    /// Collects the resident holders of a node that are not listed yet.
    #[inline]
    fn unlisted(&self, blocks: &[u64], visit: &Visit, matches: &mut Matches, found: &mut Unlisted) {
        let mut node = visit.node;
        self.collect(&node, RECORDS, matches, found);
        let mut meta = self.meta(&node);
        if !self.table.is_unchanged(&node) {
            // Somebody wrote to the set since the visit: once more, and else do without.
            found.count = 0;
            let Some(again) = self.probe_at(blocks, visit.start as usize) else { return };
            node = again.node;
            self.collect(&node, RECORDS, matches, found);
            meta = self.meta(&node);
            if !self.table.is_unchanged(&node) {
                found.count = 0;
                return;
            }
        }
        if meta.is_wide() {
            self.collect_extra(&node, meta, blocks[visit.start as usize], matches, found);
        }
    }

    /// Collects resident, unlisted holders from the words of one node. The caller checks that
    /// the node is unchanged and takes back what was collected where it is not.
    #[inline]
    pub(super) fn collect(
        &self,
        node: &Found,
        first: usize,
        matches: &Matches,
        found: &mut Unlisted,
    ) {
        let words = self.table.words(node);
        for word in &words[first..] {
            let record = Record(word.load(Ordering::Relaxed));
            if !record.exists() {
                if first == RECORDS {
                    return;
                }
                continue;
            }
            if !matches.is_listed(record.slot()) && self.slots.is_resident(record) {
                found.push(record);
            }
        }
    }

    #[inline]
    pub(super) fn meta(&self, node: &Found) -> Meta {
        Meta(self.table.word(node.set, usize::from(node.way), META).load(Ordering::Relaxed))
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
        let meta = self.meta(node);
        if !self.table.is_unchanged(node) {
            return None;
        }
        if inline.is_some() || !meta.has_group(group_of(slot)) {
            return inline;
        }
        self.extra_record(node, meta, block, slot).map(|(_, record)| record)
    }

    /// The word and content of the slot's record among a node's own.
    #[inline]
    pub(super) fn inline_record(&self, node: &Found, slot: u16) -> Option<(usize, Record)> {
        let words = self.table.words(node);
        for (word, value) in words.iter().enumerate().skip(RECORDS) {
            let record = Record(value.load(Ordering::Relaxed));
            if !record.exists() {
                return None;
            }
            if record.slot() == slot {
                return Some((word, record));
            }
        }
        None
    }
}

const _: () = assert!(META < RECORDS && wide::PER_GROUP > NODE_WORDS - RECORDS);
