//! Lookup: down the path by galloping, then up again to list the holders.

use arrayvec::ArrayVec;

use super::matches::{Matches, Visit};
use super::node::{META, Meta, NODE_WORDS, RECORDS, RUN};
use super::record::Record;
use super::table::{Found, Located};
use super::wide::group_of;
use super::{PrefixTree, wide};
use crate::sync::{AtomicU64, Ordering};

/// Full runs in a row after which the search takes longer steps.
const STEADY: usize = 4;
/// Places that one round of the longer search looks at together, so that their lines arrive
/// together.
const FAN: usize = 8;
/// Runs whose headers are fetched ahead.
pub(super) const AHEAD: usize = 6;
/// Runs that are located before the first of them is read, so that their lines arrive together.
pub(super) const LOCATED: usize = 4;

/// Runs of a path that are located ahead; `None` beyond its end.
type Ahead = [Option<Located>; LOCATED];

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
        let ahead = self.descend(blocks, matches);
        // The insert that follows the decision will write there.
        for located in ahead.iter().flatten() {
            self.table.prefetch_place(located, self.now());
        }
        if let Some(deepest) = matches.visits().last() {
            matches.matched = deepest.start + u32::from(deepest.node.same);
        }
        let registered = self.slots.registered();
        let mut below = None;
        for index in (0..matches.visits.len()).rev() {
            if matches.holders().len() >= registered {
                break;
            }
            let visit = matches.visits[index];
            let gap = Gap { hole: below, end: below, depth: 0 };
            let was_complete = std::mem::replace(&mut matches.complete, true);
            self.list_between(blocks, visit, gap, matches);
            matches.visits[index].is_listed = matches.complete;
            matches.complete &= was_complete;
            below = Some(visit.start as usize);
        }
        if !self.answers.is_empty() {
            self.raise(blocks, matches);
        }
        if !self.breaks.is_empty() {
            self.lower(blocks, matches);
        }
    }

    #[inline]
    pub(super) fn prefetch_run(&self, blocks: &[u64], start: usize) {
        if let Some(&block) = blocks.get(start) {
            self.table.prefetch(&self.run_home(block));
        }
    }

    #[inline(always)]
    pub(super) fn locate(&self, blocks: &[u64], start: usize) -> Option<Located> {
        let block = blocks.get(start)?;
        Some(self.table.locate(self.run_home(*block)))
    }

    fn probe_at(&self, blocks: &[u64], start: usize) -> Option<Visit> {
        let path = blocks.get(start..)?;
        let home = self.run_home(*path.first()?);
        let node = self.table.probe(&home, path)?;
        Some(Visit::new(start, node))
    }

    /// Visits nodes down to the end of what the tree knows of the path; returns what was located of the
    /// runs that follow it. While a node is compared, the lines of the next ones are prefetched.
    fn descend(&self, blocks: &[u64], matches: &mut Matches) -> Ahead {
        let mut ahead: Ahead = [None; LOCATED];
        let mut start = 0;
        loop {
            // As long as runs are full, they lie at multiples of their length from here.
            let origin = start;
            let mut located = 0;
            for run in 0.. {
                start = origin + run * RUN;
                while located < run + LOCATED {
                    ahead[located % LOCATED] = self.locate(blocks, origin + located * RUN);
                    located += 1;
                }
                let Some(here) = &ahead[run % LOCATED] else { return ahead };
                if here.is_absent() {
                    return ahead;
                }
                self.prefetch_run(blocks, start + AHEAD * RUN);
                let Some(node) = self.table.read(here, &blocks[start..]) else { return ahead };
                matches.visit(Visit::new(start, node));
                let (same, length) = (usize::from(node.same), usize::from(node.length));
                if same < RUN {
                    if same == length {
                        // What follows a run that has room is in the run itself.
                        return ahead;
                    }
                    start += same;
                    break;
                }
                if run + 1 == STEADY && blocks.len() > start + (1 + FAN) * RUN {
                    start = self.gallop(blocks, start, matches);
                    break;
                }
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
                    matches.visit(Visit::new(at, node));
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
    /// there is no node in the middle; `gap.hole` comes closer until the run before that stretch is
    /// found, and what follows that run is searched next.
    #[inline(always)]
    fn list_between(&self, blocks: &[u64], visit: Visit, gap: Gap, matches: &mut Matches) {
        let next = visit.start + u32::from(visit.node.same);
        if matches.is_full() {
            matches.complete = false;
        } else if gap.hole.max(gap.end) > Some(next as usize) {
            self.bisect(blocks, visit, gap, matches);
        } else {
            self.list(blocks, &visit, matches);
        }
    }

    /// The same where not all of the gap is the node's own.
    #[inline(never)]
    fn bisect(&self, blocks: &[u64], visit: Visit, gap: Gap, matches: &mut Matches) {
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
        self.list(blocks, &visit, matches);
    }

    /// Whether a node has resident holders that are not listed yet.
    fn has_unlisted(&self, blocks: &[u64], visit: &Visit, matches: &mut Matches) -> bool {
        let has = |node: &Found, matches: &Matches| {
            let records = self.records(node, false, matches);
            let meta = self.meta(node);
            let found = records.iter().any(|&record| self.slots.is_resident(record));
            self.table.is_unchanged(node).then_some((found, meta))
        };
        let mut node = visit.node;
        let mut known = has(&node, matches);
        if known.is_none() {
            let Some(again) = self.probe_at(blocks, visit.start as usize) else { return false };
            node = again.node;
            known = has(&node, matches);
        }
        let Some((found, meta)) = known else { return false };
        if found || !meta.is_wide() {
            return found;
        }
        let mut found = false;
        let block = blocks[visit.start as usize];
        self.for_each_extra(&node, meta, block, matches, |extra, matches| {
            let records = self.records(extra, true, matches);
            let resident = records.iter().any(|&record| self.slots.is_resident(record));
            found |= resident && self.table.is_unchanged(extra);
        });
        found
    }

    /// Lists the resident holders of a node that are not listed yet.
    #[inline]
    fn list(&self, blocks: &[u64], visit: &Visit, matches: &mut Matches) {
        let mut node = visit.node;
        for _ in 0..2 {
            let meta = self.meta(&node);
            if self.list_records(&node, None, visit.start, matches) {
                if meta.is_wide() {
                    let block = blocks[visit.start as usize];
                    self.for_each_extra(&node, meta, block, matches, |extra, matches| {
                        self.list_records(&node, Some(extra), visit.start, matches);
                    });
                }
                return;
            }
            // Another thread wrote to the set since the visit: try once more, then give up.
            let Some(again) = self.probe_at(blocks, visit.start as usize) else { return };
            node = again.node;
        }
    }

    /// Lists the resident holders among the records of a node or of one of its extra nodes. `false` where
    /// that place is no longer what it was; nothing is listed then.
    #[inline(always)]
    fn list_records(
        &self,
        node: &Found,
        extra: Option<&Found>,
        start: u32,
        matches: &mut Matches,
    ) -> bool {
        let place = extra.unwrap_or(node);
        let records = self.records(place, extra.is_some(), matches);
        if !self.table.is_unchanged(place) {
            return false;
        }
        for &record in records.iter().filter(|&&record| self.slots.is_resident(record)) {
            let blocks = record.length().min(usize::from(node.same));
            matches.list(record.slot(), start + blocks as u32);
        }
        true
    }

    /// The records of a node or of an extra node whose slots are not listed yet. The caller checks that
    /// the node is unchanged.
    #[inline(always)]
    fn records(
        &self,
        place: &Found,
        is_extra: bool,
        matches: &Matches,
    ) -> ArrayVec<Record, { wide::PER_GROUP }> {
        let [first, second] = self.table.lines(place);
        let mut records = ArrayVec::new();
        let mut take = |word: &AtomicU64| {
            let record = Record(word.load(Ordering::Relaxed));
            if record.exists() && !matches.is_listed(record.slot()) {
                // There are as many places as words.
                let _ = records.try_push(record);
            }
            record.exists()
        };
        if is_extra {
            first[1..].iter().chain(second).for_each(|word| _ = take(word));
        } else {
            // Records of a run are filled from the front.
            let _ = second[RECORDS - META..].iter().all(take);
        }
        records
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
        for visit in matches.visits().iter().rev().filter(|visit| !visit.is_listed) {
            let Some(visit) = self.probe_at(blocks, visit.start as usize) else { continue };
            let block = blocks[visit.start as usize];
            let record = self.record_of(&visit.node, block, slot);
            if let Some(record) = record.filter(|&record| self.slots.is_resident(record)) {
                let same = usize::from(visit.node.same);
                let found = visit.start + record.length().min(same) as u32;
                let is_whole = self.breaks.is_empty();
                return if is_whole { found } else { self.lowered(blocks, slot, found) };
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
        let [_, records] = self.table.lines(node);
        for (word, value) in (META..).zip(records).skip(RECORDS - META) {
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
