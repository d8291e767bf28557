//! The table of open tickets.
//!
//! A fixed table of entries, reached by index. An entry's state word says in which generation and
//! phase it is:
//!
//! ```text
//!   free(g) --reserve--> held(g) --open--> waiting(g) --first token--> streaming(g)
//!      |                    |                  |                            |
//!   (g - 1) <---cancel------+                  +-----------close------------+--> held(g) --> free(g + 1)
//! ```
//!
//! Between waiting and streaming a pair's entry may pass through a further phase, in which its prefill
//! worker has left; it is waiting in all other respects.
//!
//! **Once.** First token and close are taken by compare-exchange, so exactly one thread wins each, and
//! with it the duty that it stands for: giving back the prefill worker's load (first token, or that worker's
//! leaving) or all that is left (close). A held entry belongs to one thread, which leaves that phase by a store. A ticket
//! number names index and generation; an old number fails the compare-exchange and changes nothing.
//!
//! **Reserving.** Each stripe has its own share of the entries, and only the thread that has entered the
//! stripe ([`crate::sync::exclusive`]) reserves among them, so a load and a store suffice. Threads that
//! found every stripe taken reserve in a share of their own, by compare-exchange. The entry that was
//! given back last is tried first: it is in the cache. The thread that closes a ticket leaves that hint,
//! whatever its own stripe; where there is none, a search has found the share full and nothing was given
//! back since.
//!
//! **Removal.** The opener charges the worker, publishes the ticket, and then checks that the worker's
//! slot still has the generation it chose, else it closes the ticket again; the remover changes the
//! generation, then closes the tickets of workers that have left. No fence stands between the opener's
//! last two steps, as it would cost more than either: in the few nanoseconds until a store is seen by
//! all, the two may miss each other. Such a ticket is open like any other, and keeps its slot from going
//! to another worker. It ends as soon as the host completes it or the next sweep of the table finds that
//! its worker has left. The charge itself does order: once a charged slot's generation is unchanged, the
//! slot stays that worker's until the charge is given back (both sides sequentially consistent).

use crossbeam_utils::CachePadded;

use super::charge::{Charge, Participants};
use super::entry::{
    CACHED_KNOWN, Entry, FREE, HELD, PREFILL_LEFT, STREAMING, WAITING, after, is_open_in, phase_of,
    refusal,
};
use super::error::TicketError;
use super::notes::Notes;
use super::number::{MAX_TICKETS, Ticket};
use crate::policy::BestMatch;
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::sync::fence;
use crate::sync::stripe::{Place, STRIPES};

/// Entries that are swept together.
const SWEEP: usize = 64;
const _: () = assert!(SWEEP % STRIPES == 0);

/// In place of an index: the share is full.
const NONE: u32 = u32::MAX;
/// The number of the share that belongs to no stripe.
const SHARED: usize = STRIPES;

type Returned = [CachePadded<AtomicU32>; STRIPES + 1];

/// All tickets of one router.
#[derive(Debug)]
pub(crate) struct Tickets {
    /// The stripes' shares, one after the other, and then the shared one.
    entries: Box<[Entry]>,
    /// Entries of all stripes.
    capacity: usize,
    /// Of each stripe's share and the shared one, the index of the entry that was given back last, or
    /// [`NONE`].
    returned: Box<Returned>,
    /// What requests have noted for their reports, entry by entry; empty where nothing is noted.
    pub(super) notes: Notes,
}

/// An entry that is held but not open yet; given back unopened when this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    pub(super) tickets: &'a Tickets,
    pub(super) index: usize,
    pub(super) entry: &'a Entry,
}

/// A closed ticket. Its entry is given back when this is dropped; until then it is held, so a policy
/// that it names is still in use.
#[derive(Debug)]
pub(crate) struct Closed<'a> {
    pub(super) tickets: &'a Tickets,
    pub(super) entry: &'a Entry,
    pub(super) ticket: Ticket,
    pub(crate) participants: Participants,
    /// The one that it was closed in.
    pub(super) phase: u64,
}

impl Tickets {
    /// A table for this many open requests, rounded up to a multiple of 64, and a 32nd of them, at least
    /// 64, for threads that find every stripe taken.
    pub(crate) fn new(capacity: usize, with_notes: bool) -> Self {
        let capacity = capacity.clamp(1, MAX_TICKETS).next_multiple_of(SWEEP);
        let share = capacity / STRIPES;
        let shared = share.next_multiple_of(SWEEP);
        let share_of = |index: usize| (index / share).min(SHARED) as u32;
        Tickets {
            entries: (0..capacity + shared).map(|index| Entry::new(share_of(index))).collect(),
            capacity,
            returned: Box::new(std::array::from_fn(|i| AtomicU32::new((i * share) as u32).into())),
            notes: Notes::new(if with_notes { capacity + shared } else { 0 }),
        }
    }

    /// How many tickets can be open at once, without the shared part.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes held, whatever the traffic.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.entries) + size_of::<Returned>() + self.notes.bytes()
    }

    /// Whether no entry of any stripe is free. O(capacity) if so.
    #[cfg(feature = "tower")]
    pub(crate) fn is_full(&self) -> bool {
        self.entries.iter().take(self.capacity).all(|entry| entry.phase() != FREE)
    }

    /// How many tickets are open or just being opened or closed. O(capacity).
    pub(crate) fn open_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.phase() != FREE).count()
    }

    /// Takes an entry for a ticket that is about to be opened, of the share of the stripe that the
    /// calling thread has entered, or else of the shared one; `None` if all of these are in use. O(1)
    /// while the share is not nearly full, at worst O(capacity / stripes), and again O(1) once it is
    /// full.
    #[inline(always)]
    pub(crate) fn reserve(&self, stripe: Place) -> Option<Reserved<'_>> {
        let Some(stripe) = stripe.number() else { return self.reserve_shared() };
        let hint = self.returned[stripe].load(Relaxed);
        if let Some(reserved) = self.hold(hint as usize) {
            return Some(reserved);
        }
        if hint == NONE { None } else { self.search(stripe, hint) }
    }

    /// Looks at every entry of the stripe's share, beginning after the hint.
    #[inline(never)]
    fn search(&self, stripe: usize, hint: u32) -> Option<Reserved<'_>> {
        let returned = &self.returned[stripe];
        // A swap, so that what is given back from here on leaves its hint after this one.
        returned.swap(NONE, AcqRel);
        let share = self.capacity / STRIPES;
        let first = stripe * share;
        let begin = (hint as usize + 1).saturating_sub(first);
        let mut places = (0..share).map(|step| first + (begin + step) % share);
        let reserved = places.find_map(|index| self.hold(index))?;
        returned.store(reserved.index as u32, Relaxed);
        Some(reserved)
    }

    /// At worst O(capacity / stripes), each time that the share is full.
    #[cold]
    fn reserve_shared(&self) -> Option<Reserved<'_>> {
        let hint = self.returned[SHARED].load(Relaxed) as usize;
        let mut places = (hint..self.entries.len()).chain(self.capacity..hint);
        places.find_map(|index| self.contend(index))
    }

    /// Takes this entry if it is free. The calling thread has entered the stripe that it belongs to.
    #[inline(always)]
    fn hold(&self, index: usize) -> Option<Reserved<'_>> {
        let entry = self.entries.get(index)?;
        // Acquire pairs with the release of the thread that gave the entry back.
        let state = entry.state.load(Acquire);
        if phase_of(state) != FREE {
            return None;
        }
        entry.state.store(state | HELD, Relaxed);
        Some(Reserved { tickets: self, index, entry })
    }

    /// Takes this entry if it is free; other threads may try the same.
    fn contend(&self, index: usize) -> Option<Reserved<'_>> {
        let entry = self.entries.get(index)?;
        let state = entry.state.load(Relaxed);
        if phase_of(state) != FREE {
            return None;
        }
        let taken = entry.state.compare_exchange(state, state | HELD, Acquire, Relaxed);
        // Made only where it is taken: one that is dropped frees the entry.
        taken.is_ok().then(|| Reserved { tickets: self, index, entry })
    }

    /// Opens a ticket in a reserved entry.
    #[inline(always)]
    pub(crate) fn open(&self, reserved: Reserved<'_>, charge: Charge, deadline: u64) -> Ticket {
        let Reserved { index, entry, .. } = reserved;
        std::mem::forget(reserved);
        entry.store(charge, deadline);
        let ticket = Ticket::of(index, entry.state.load(Relaxed));
        // Release: a thread that sees the ticket open sees the fields stored before.
        entry.state.store(ticket.state(WAITING), Release);
        ticket
    }

    /// The longest match that the request of an open ticket could have had.
    pub(crate) fn best_match(&self, ticket: Ticket) -> Option<BestMatch> {
        let entry = self.entries.get(ticket.index())?;
        // Acquire pairs with the release in `open`.
        let is_open = || is_open_in(ticket, entry.state.load(Acquire));
        let best = if is_open() { self.notes.best_match(ticket) } else { None };
        // What was read is this ticket's if it is still open.
        fence(Acquire);
        best.filter(|_| is_open())
    }

    /// Frees a held entry. Release: a thread that sees the free state also sees that this thread is done
    /// with the fields.
    #[inline]
    fn give_back(&self, index: usize, entry: &Entry, free: u64) {
        entry.state.store(free, Release);
        if let Some(returned) = self.returned.get(entry.share as usize) {
            returned.store(index as u32, Release);
        }
    }

    /// What a waiting ticket holds, before [`Tickets::first_token`] is taken. The values mean
    /// something only if that then succeeds.
    pub(crate) fn peek(&self, ticket: Ticket) -> Option<Charge> {
        Some(self.entries.get(ticket.index())?.load())
    }

    /// Takes the step to streaming; for the thread that took it, what the ticket holds, and whether its
    /// prefill worker's load is still to be given back.
    pub(crate) fn first_token(
        &self,
        ticket: Ticket,
        cached_known: bool,
    ) -> Result<(Charge, bool), TicketError> {
        let entry = self.entries.get(ticket.index()).ok_or(TicketError::Unknown)?;
        let streaming = ticket.state(STREAMING);
        let mut state = entry.state.load(Acquire);
        loop {
            if state == streaming {
                return Err(TicketError::FirstTokenTwice);
            }
            if !is_open_in(ticket, state) {
                return Err(refusal(ticket, state));
            }
            // Read before the compare-exchange: its success proves that the entry was this ticket's throughout.
            let charge = entry.load();
            match entry.state.compare_exchange(state, streaming, AcqRel, Acquire) {
                Ok(_) => {
                    // Should the request complete and the entry be opened anew at this very moment, the
                    // next ticket carries the hint: one sample of an estimate is left out.
                    if cached_known {
                        entry.bytes.fetch_or(CACHED_KNOWN, Relaxed);
                    }
                    return Ok((charge, state == ticket.state(WAITING)));
                }
                Err(now) => state = now,
            }
        }
    }

    /// What the first token of a ticket called cached, for the report at its end.
    pub(crate) fn note_cached(&self, ticket: Ticket, cached: u32) {
        self.notes.first_token(ticket, cached);
    }

    /// Notes that the prefill worker of a waiting ticket has left; whether the calling thread did, which
    /// then gives that worker's load back.
    pub(crate) fn prefill_left(&self, ticket: Ticket) -> bool {
        let (waiting, left) = (ticket.state(WAITING), ticket.state(PREFILL_LEFT));
        let entry = self.entries.get(ticket.index());
        entry.is_some_and(|entry| {
            entry.state.compare_exchange(waiting, left, AcqRel, Relaxed).is_ok()
        })
    }

    /// Puts the deadline off.
    pub(crate) fn renew(&self, ticket: Ticket, deadline: u64) -> Result<(), TicketError> {
        let entry = self.entries.get(ticket.index()).ok_or(TicketError::Unknown)?;
        let state = entry.state.load(Acquire);
        if !is_open_in(ticket, state) {
            return Err(refusal(ticket, state));
        }
        // If the ticket is closed at this moment, the entry's next owner sets its own deadline.
        entry.deadline.store(deadline, Relaxed);
        Ok(())
    }

    /// Closes a ticket: exactly one caller gets what it held.
    #[inline]
    pub(crate) fn close(&self, ticket: Ticket) -> Result<Closed<'_>, TicketError> {
        let entry = self.entries.get(ticket.index()).ok_or(TicketError::Unknown)?;
        let mut state = entry.state.load(Acquire);
        loop {
            if !is_open_in(ticket, state) {
                return Err(refusal(ticket, state));
            }
            match entry.state.compare_exchange(state, ticket.state(HELD), AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        let participants = Participants(entry.participants.load(Relaxed));
        Ok(Closed { tickets: self, entry, ticket, participants, phase: phase_of(state) })
    }

    /// Whether any entry that is not free names the policy. O(capacity).
    pub(crate) fn in_use(&self, policy: u16) -> bool {
        let names = |entry: &Entry| entry.load().participants.policy() == policy;
        self.entries.iter().any(|entry| entry.phase() != FREE && names(entry))
    }

    /// How many parts [`Tickets::open_in`] can be asked for.
    pub(crate) fn parts(&self) -> usize {
        self.entries.len() / SWEEP
    }

    /// The open tickets among the [`SWEEP`] of this part: the participants of each, and its deadline.
    pub(crate) fn open_in(&self, part: usize) -> impl Iterator<Item = (Ticket, Participants, u64)> {
        let first = part * SWEEP;
        self.entries.iter().enumerate().skip(first).take(SWEEP).filter_map(|(index, entry)| {
            let state = entry.state.load(Acquire);
            let ticket = Ticket::of(index, state);
            let participants = Participants(entry.participants.load(Relaxed));
            is_open_in(ticket, state).then(|| (ticket, participants, entry.deadline.load(Relaxed)))
        })
    }

    /// Frees every entry: only for a forked child, which inherits no request.
    pub(crate) fn clear(&self) {
        for (index, entry) in self.entries.iter().enumerate() {
            let state = entry.state.load(Relaxed);
            if phase_of(state) != FREE {
                self.give_back(index, entry, after(state));
            }
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let free = self.entry.state.load(Relaxed) & !HELD;
        self.tickets.give_back(self.index, self.entry, free);
    }
}

impl Drop for Closed<'_> {
    #[inline]
    fn drop(&mut self) {
        let free = after(self.ticket.to_raw());
        self.tickets.give_back(self.ticket.index(), self.entry, free);
    }
}
