//! The view that policies choose from.
//!
//! Drawing and rotating are O(1) whatever the number of workers: they probe the snapshot's tables,
//! and a probe that hits a worker that this request may not use is *redrawn*, not moved to the next
//! place, so that no neighbour inherits the share of a missing worker. After [`PROBES`] misses an
//! exact pass over the eligible bits decides, so a request that only one of a thousand workers may
//! serve still finds it.

use super::{
    best::Best,
    candidate::Candidate,
    chances::Chances,
    filter::Filter,
    loads::Loads,
    set::{SlotSet, Slots},
    snapshot::{PoolSnapshot, RoleView},
};
use crate::random::{self, Random};
use crate::worker::{Role, WorkerId, state::WorkerState};

/// Probes before the exact pass. With half of the workers ruled out, one request in 65,536 gets there.
const PROBES: usize = 16;

/// The eligible workers of one role, for one request: a borrowed view into one pool snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    pool: &'a PoolSnapshot,
    view: &'a RoleView,
    role: Role,
    /// Whether every eligible worker is a candidate: the request rules none out, and none has a limit.
    unrestricted: bool,
    loads: Loads<'a>,
    filter: Option<&'a Filter>,
    /// Workers without room, whatever their rows say: another request has taken their last free slot.
    full: Option<&'a SlotSet>,
}

impl<'a> Candidates<'a> {
    #[inline]
    pub(crate) fn new(
        pool: &'a PoolSnapshot,
        role: Role,
        loads: Loads<'a>,
        filter: Option<&'a Filter>,
    ) -> Self {
        let view = pool.role(role);
        let unrestricted = !view.limited && filter.is_none();
        Candidates { pool, view, role, unrestricted, loads, filter, full: None }
    }

    /// The same workers, of which these have no room.
    #[inline(always)]
    pub(crate) fn but_full(self, full: Option<&'a SlotSet>) -> Self {
        Candidates { full, unrestricted: self.unrestricted && full.is_none(), ..self }
    }

    /// The same workers, further restricted.
    pub(crate) fn restricted<'b>(&self, filter: &'b Filter) -> Candidates<'b>
    where
        'a: 'b,
    {
        Candidates { filter: Some(filter), unrestricted: false, ..*self }
    }

    /// The role that these workers have.
    #[inline]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Healthy, not draining workers of the role, before the request's own restrictions. O(1).
    pub fn len(&self) -> usize {
        self.view.eligible.len()
    }

    /// Whether the role has no healthy, not draining worker. O(1).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the highest slot in use by any worker of the pool: the length that an array by
    /// slot needs.
    pub fn slots(&self) -> usize {
        self.pool.slots()
    }

    /// The candidate in this slot, if there is one.
    #[inline]
    pub fn get(&self, slot: usize) -> Option<Candidate<'a>> {
        let eligible = self.view.bits.contains(slot) && self.admits(slot);
        if eligible { self.candidate(slot) } else { None }
    }

    /// Every candidate, exactly; O(slots / 64 + candidates).
    pub fn iter(&self) -> CandidatesIter<'a> {
        CandidatesIter { candidates: *self, slots: self.admitted().iter() }
    }

    /// As [`Candidates::iter`] without those in `skip`: a plain loop, for policies that look at all
    /// candidates for every request.
    #[inline]
    pub(crate) fn visit(&self, skip: &SlotSet, mut visit: impl FnMut(Candidate<'a>)) {
        let admitted = self.filter.map_or(&SlotSet::FULL, Filter::slots).words();
        let words = self.view.bits.words().iter().zip(admitted).zip(skip.words());
        for (index, ((word, admitted), skip)) in words.take(self.slots().div_ceil(64)).enumerate() {
            let mut bits = word & admitted & !skip;
            while bits != 0 {
                let slot = 64 * index + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if self.unrestricted || self.has_room(slot) {
                    self.candidate(slot).into_iter().for_each(&mut visit);
                }
            }
        }
    }

    /// A random candidate; chances are proportional to weights. O(1).
    #[inline]
    pub fn draw(&self, random: &Random) -> Option<Candidate<'a>> {
        match self.probe(random) {
            Some(candidate) => Some(candidate),
            None => self.draw_again(random),
        }
    }

    /// The candidate at this place of the weighted rotation: each cycle of consecutive positions
    /// serves each eligible worker exactly its weight, evenly spread. Where that worker is ruled out
    /// for this request alone, a random draw takes its place. O(1).
    #[inline]
    pub fn in_rotation(&self, position: u64, random: &Random) -> Option<Candidate<'a>> {
        let cycle = self.cycle();
        let slot = *cycle.get(position.checked_rem(cycle.len() as u64)? as usize)?;
        if self.admits(slot.into()) { self.candidate(slot.into()) } else { self.draw(random) }
    }

    /// Length of the rotation that [`Candidates::in_rotation`] walks. O(1).
    pub fn cycle_len(&self) -> usize {
        self.cycle().len()
    }

    /// Two different candidates in random order, each as often as its weight says. One alone where there is
    /// no other, or where it was drawn twice: that happens if weights differ and either one of them is more
    /// than half of all, or not every eligible worker is a candidate. O(1).
    #[inline]
    pub fn draw_two(&self, random: &Random) -> Option<(Candidate<'a>, Option<Candidate<'a>>)> {
        match self.probe_two(random) {
            Some((a, b)) => Some((a, Some(b))),
            None => self.draw_two_again(random),
        }
    }

    /// The candidate with the least load for its weight (few requests compare as they are,
    /// many by weight); among equals each as often as its weight says. O(candidates).
    pub fn least_loaded(&self, random: &Random) -> Option<Candidate<'a>> {
        self.extremes(random).map(|extremes| extremes.least)
    }

    /// The same, with the fewest and the most requests in flight of any candidate.
    pub(crate) fn extremes(&self, random: &Random) -> Option<Extremes<'a>> {
        let (mut min, mut max) = (usize::MAX, 0);
        let mut best = Best::new(random);
        let per_weight = self.are_weighted().then(|| self.in_flight_per_weight());
        for candidate in self {
            let in_flight = candidate.in_flight();
            (min, max) = (min.min(in_flight), max.max(in_flight));
            // Without weights there is nothing to relate to.
            let load =
                per_weight.map_or(in_flight as f64, |all| candidate.relative_load(in_flight, all));
            self.offer(&mut best, load, candidate);
        }
        best.first().map(|(_, least)| Extremes { min, max, least })
    }

    fn in_flight_per_weight(&self) -> f64 {
        let (requests, weights) = self.iter().fold((0, 0.0), |(requests, weights), candidate| {
            (requests + candidate.in_flight(), weights + candidate.weight())
        });
        requests as f64 / weights
    }

    /// Offers a candidate; among equals each is first as often as its weight says.
    #[inline]
    pub(crate) fn offer(
        &self,
        best: &mut Best<'_, Candidate<'a>>,
        score: f64,
        candidate: Candidate<'a>,
    ) {
        if self.are_weighted() {
            best.offer_weighted(score, candidate.weight(), candidate);
        } else {
            best.offer(score, candidate);
        }
    }

    /// Whether this worker is a candidate, or would be if it had not come to its in-flight limit since the
    /// request last looked.
    #[inline]
    pub(crate) fn includes(&self, worker: WorkerId) -> bool {
        let slot = worker.slot();
        self.pool.seat(slot).is_some_and(|seat| seat.seats(worker, self.role))
            && self.filter.is_none_or(|filter| filter.admits(slot))
            && self.full.is_none_or(|full| !full.contains(slot))
    }

    /// Whether weights differ.
    #[inline]
    pub(crate) fn are_weighted(&self) -> bool {
        self.view.chances.is_some()
    }

    pub(crate) fn pool(&self) -> &'a PoolSnapshot {
        self.pool
    }

    pub(crate) fn view(&self) -> &'a RoleView {
        self.view
    }

    /// Eligible slots that the request admits, whether they have room or not.
    pub(crate) fn admitted(&self) -> SlotSet {
        let bits = &self.view.bits;
        self.filter.map_or(*bits, |filter| bits.and(filter.slots()))
    }

    /// How many those are; O(slots / 64) where the request restricts them.
    pub(crate) fn admitted_len(&self) -> usize {
        self.filter.map_or(self.len(), |_| self.admitted().len())
    }

    #[inline]
    fn cycle(&self) -> &'a [u16] {
        self.view.cycle.as_ref().unwrap_or(&self.view.eligible)
    }

    #[inline]
    fn admits(&self, slot: usize) -> bool {
        self.unrestricted || self.filter.is_none_or(|f| f.admits(slot)) && self.has_room(slot)
    }

    #[inline]
    fn has_room(&self, slot: usize) -> bool {
        let has_room = !self.view.limited || self.loads.row(slot).is_none_or(WorkerState::has_room);
        has_room && self.full.is_none_or(|full| !full.contains(slot))
    }

    #[inline(always)]
    fn candidate(&self, slot: usize) -> Option<Candidate<'a>> {
        let seat = self.pool.seat(slot)?;
        let load = self.loads.of(slot)?;
        Some(Candidate::new(seat.id?, seat, load, self.pool))
    }

    /// One weighted draw; `None` if it hits a worker that is not a candidate.
    #[inline]
    fn probe(&self, random: &Random) -> Option<Candidate<'a>> {
        let (uniform, eligible) = (random.next(), &self.view.eligible);
        let slot = match &self.view.chances {
            Some(chances) => chances.one(uniform)?,
            None => *eligible.get(random::scale(uniform, eligible.len()))?,
        };
        if self.admits(slot.into()) { self.candidate(slot.into()) } else { None }
    }

    /// The first draw of [`Candidates::draw_two`] where all weights are equal; `None` if they are not, if
    /// there are not two, or if it hits a worker that is not a candidate.
    #[inline(always)]
    pub(crate) fn probe_two(&self, random: &Random) -> Option<(Candidate<'a>, Candidate<'a>)> {
        if self.are_weighted() {
            return None;
        }
        let eligible = &self.view.eligible;
        let n = eligible.len() as u64;
        let uniform = random.next();
        let first = (((uniform >> 32) * n) >> 32) as usize;
        let other = (((uniform & 0xffff_ffff) * n.checked_sub(1)?) >> 32) as usize;
        // Skipping over the first makes every ordered pair of distinct places equally likely.
        let second = other + usize::from(other >= first);
        let a = usize::from(*eligible.get(first)?);
        let b = usize::from(*eligible.get(second)?);
        if self.admits(a) && self.admits(b) {
            self.candidate(a).zip(self.candidate(b))
        } else {
            None
        }
    }

    /// The probes after a missed one, then the exact pass.
    #[cold]
    fn draw_again(&self, random: &Random) -> Option<Candidate<'a>> {
        let probed = (1..PROBES).find_map(|_| self.probe(random));
        probed.or_else(|| self.draw_exactly(random))
    }

    /// The probes after a missed one, then the exact pass.
    #[cold]
    fn draw_two_again(&self, random: &Random) -> Option<(Candidate<'a>, Option<Candidate<'a>>)> {
        if let Some(chances) = &self.view.chances {
            return self.draw_two_weighted(chances, random);
        }
        let probed = (1..PROBES).find_map(|_| self.probe_two(random));
        probed.map(|(a, b)| (a, Some(b))).or_else(|| self.draw_two_exactly(random))
    }

    fn draw_two_weighted(
        &self,
        chances: &Chances,
        random: &Random,
    ) -> Option<(Candidate<'a>, Option<Candidate<'a>>)> {
        if self.unrestricted && self.len() > 1 {
            let (a, b) = chances.two(random.next(), random.next())?;
            let second = if a == b { None } else { self.candidate(b.into()) };
            return Some((self.candidate(a.into())?, second));
        }
        // Of two that belong together, one that is no candidate would take its partner with it.
        let (first, second) = (self.draw(random)?, self.draw(random)?);
        Some((first, Some(second).filter(|second| second.slot() != first.slot())))
    }

    fn draw_exactly(&self, random: &Random) -> Option<Candidate<'a>> {
        let mut total = 0.0;
        let mut chosen = None;
        // Weighted reservoir of one: each candidate replaces the choice with its share of the sum
        // so far, which leaves each with its share of the whole.
        for candidate in self.iter() {
            total += candidate.weight();
            if random::unit(random.next()) * total < candidate.weight() {
                chosen = Some(candidate);
            }
        }
        chosen
    }

    fn draw_two_exactly(&self, random: &Random) -> Option<(Candidate<'a>, Option<Candidate<'a>>)> {
        let mut pair = [None, None];
        for (seen, candidate) in self.iter().enumerate() {
            // Reservoir of two (Vitter's algorithm R).
            let place = if seen < 2 { seen } else { random.below(seen + 1) };
            if let Some(kept) = pair.get_mut(place) {
                *kept = Some(candidate);
            }
        }
        // The reservoir fills by slot, and callers take the first of equals: either may come first.
        if pair[1].is_some() && random.below(2) == 1 {
            pair.swap(0, 1);
        }
        pair[0].map(|first| (first, pair[1]))
    }
}

impl<'a> IntoIterator for &Candidates<'a> {
    type Item = Candidate<'a>;
    type IntoIter = CandidatesIter<'a>;

    fn into_iter(self) -> CandidatesIter<'a> {
        self.iter()
    }
}

/// What [`Candidates::extremes`] finds.
pub(crate) struct Extremes<'a> {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) least: Candidate<'a>,
}

/// Every candidate, by slot: see [`Candidates::iter`].
#[derive(Clone, Debug)]
pub struct CandidatesIter<'a> {
    candidates: Candidates<'a>,
    slots: Slots,
}

impl<'a> Iterator for CandidatesIter<'a> {
    type Item = Candidate<'a>;

    #[inline]
    fn next(&mut self) -> Option<Candidate<'a>> {
        self.slots.find_map(|slot| {
            let has_room = self.candidates.has_room(slot);
            if has_room { self.candidates.candidate(slot) } else { None }
        })
    }
}
