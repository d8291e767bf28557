//! Tickets: the duty to give the load back once.
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
//! **Once.** First token and close are taken by compare-exchange, so exactly one thread wins each, and
//! with it the duty that it stands for: giving back the prefill worker's load (first token) or all that
//! is left (close). A held entry is in the hands of one thread, which leaves that phase by a store. A
//! ticket number names index and generation; a number from the past fails the exchange and harms
//! nothing.
//!
//! **Reserving.** Each stripe has its own share of the entries, and only who has entered the stripe
//! ([`crate::exclusive`]) reserves among them, so that a look and a store do. The entry that was given
//! back last is tried first: it is in the cache. Whoever closes a ticket leaves that hint, whatever its
//! own stripe; where there is none, a search has found the share full and nothing was given back since.
//!
//! **Removal.** The opener charges the worker, publishes the ticket, and then checks that the worker's
//! slot still has the generation it chose, else it closes the ticket again; the remover changes the
//! generation, then closes the tickets of workers that have left. No fence stands between the opener's
//! last two steps, as it would cost more than either: in the few nanoseconds until a store is seen by
//! all, the two may miss each other. Such a ticket is open like any other, and keeps its slot from
//! changing hands. It ends as soon as the host completes it or the next sweep of the table finds that
//! its worker has left. The charge itself does order: once a charged slot's generation stands, the slot
//! does not change hands before the charge is given back (both sides sequentially consistent).

use std::num::ParseIntError;
use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::router::ticket_error::TicketError;
use crate::stripe::{STRIPES, Striped};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

const INDEX_BITS: u32 = 20;
/// The largest table.
pub(crate) const MAX_TICKETS: usize = 1 << INDEX_BITS;

/// Entries that are swept together.
const SWEEP: usize = 64;
const _: () = assert!(SWEEP % STRIPES == 0);

/// The bits in which a state word has its phase, and a ticket's number its index. Above them, both have
/// the generation.
const LOW: u64 = (1 << INDEX_BITS) - 1;
/// Beside the prompt's length in bytes: the first token said how much of the prompt was cached.
const CACHED_KNOWN: u64 = 1 << 32;
const FREE: u64 = 0;
const WAITING: u64 = 1;
const STREAMING: u64 = 2;
/// In the hands of the thread that opens or closes it.
const HELD: u64 = 3;
/// In place of an index: the stripe's share is full.
const NONE: u32 = u32::MAX;

/// The number of an open request: what the host hands back when the request is over.
///
/// 0 is a request that could not be tracked because the table was full, or, hardly ever, because all 32
/// stripes of the router were taken by threads in the middle of a selection. Such requests are spread at
/// random; they count neither as load nor towards limits, and completing them teaches nothing. Watch
/// `pointsman_tickets_untracked_total`: where it rises, tickets are not completed, or `max_tickets` is
/// too small. Tickets and worker ids mean something to the router that gave them out only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket of a request that is not tracked.
    pub const UNTRACKED: Ticket = Ticket(0);

    /// The ticket as a number, for foreign interfaces.
    pub fn to_raw(self) -> u64 {
        self.0
    }

    /// A ticket from [`Ticket::to_raw`].
    pub fn from_raw(raw: u64) -> Self {
        Ticket(raw)
    }

    /// Whether the request is tracked and its load charged.
    pub fn is_tracked(self) -> bool {
        self.0 != 0
    }

    /// The ticket of this entry while it is in this state.
    fn of(index: usize, state: u64) -> Self {
        Ticket(state & !LOW | index as u64)
    }

    /// The state of the ticket's entry in this phase.
    #[inline]
    fn state(self, phase: u64) -> u64 {
        self.0 & !LOW | phase
    }

    fn index(self) -> usize {
        (self.0 as usize) & (MAX_TICKETS - 1)
    }

    fn generation(self) -> u64 {
        self.0 >> INDEX_BITS
    }

    /// Whether an entry in this state holds this ticket, open.
    #[inline]
    fn is_open_in(self, state: u64) -> bool {
        state == self.state(WAITING) || state == self.state(STREAMING)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// From the number that it is displayed as.
impl FromStr for Ticket {
    type Err = ParseIntError;

    fn from_str(number: &str) -> Result<Self, ParseIntError> {
        number.parse().map(Ticket)
    }
}

/// What a ticket remembers of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) parties: Parties,
    pub(crate) dispatched: u64,
    pub(crate) work_tokens: u32,
    pub(crate) matched_tokens: u32,
    pub(crate) prompt_tokens: u32,
    /// KV tokens charged to `slot`.
    pub(crate) resident_tokens: u32,
    /// Length of the prompt in bytes where `prompt_tokens` is an estimate; else 0.
    pub(crate) prompt_bytes: u32,
    /// Whether the first token said how much of the prompt was cached.
    pub(crate) cached_known: bool,
}

/// Whom a ticket concerns, packed as it is stored: slot | prefill + 1 | policy | notify, 16 bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parties(u64);

#[derive(Debug)]
#[repr(align(64))]
struct Entry {
    state: AtomicU64,
    /// [`Parties`].
    parties: AtomicU64,
    dispatched: AtomicU64,
    deadline: AtomicU64,
    work: AtomicU64,
    tokens: AtomicU64,
    bytes: AtomicU64,
    /// Whose share it belongs to.
    stripe: u32,
}

/// All tickets of one router.
#[derive(Debug)]
pub(crate) struct Tickets {
    entries: Box<[Entry]>,
    /// Of each stripe's share, the index of the entry that was given back last, or [`NONE`].
    returned: Striped<AtomicU32>,
}

/// An entry that is held but not open yet.
#[derive(Debug)]
pub(crate) struct Reserved {
    index: usize,
}

/// A closed ticket. Its entry is given back when this is dropped; until then it is held, so a policy
/// that it names is still in use.
#[derive(Debug)]
pub(crate) struct Closed<'a> {
    tickets: &'a Tickets,
    entry: &'a Entry,
    ticket: Ticket,
    pub(crate) parties: Parties,
    pub(crate) first_token_seen: bool,
}

impl Tickets {
    /// A table for this many open requests, rounded up to a multiple of 64.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, MAX_TICKETS).next_multiple_of(SWEEP);
        let share = capacity / STRIPES;
        Tickets {
            entries: (0..capacity).map(|index| Entry::new(index / share)).collect(),
            returned: Striped::new(|stripe| AtomicU32::new((stripe * share) as u32)),
        }
    }

    /// How many tickets can be open at once.
    pub(crate) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Bytes held, whatever the traffic.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.entries) + Striped::<AtomicU32>::BYTES
    }

    /// How many tickets are open or just being opened or closed. O(capacity).
    pub(crate) fn open_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.phase() != FREE).count()
    }

    /// Takes an entry of this stripe's share for a ticket that is about to be opened; `None` if all are
    /// in use. To be called by who has entered the stripe. O(1) while the share is not nearly full, at
    /// worst O(capacity / stripes), and again O(1) once it is full.
    #[inline(always)]
    pub(crate) fn reserve(&self, stripe: usize) -> Option<Reserved> {
        let hint = self.returned.of(stripe).load(Relaxed);
        if self.hold(hint as usize) {
            return Some(Reserved { index: hint as usize });
        }
        if hint == NONE { None } else { self.search(stripe, hint) }
    }

    /// Looks at every entry of the share, beginning behind the hint.
    #[inline(never)]
    fn search(&self, stripe: usize, hint: u32) -> Option<Reserved> {
        let returned = self.returned.of(stripe);
        // An exchange, so that what is given back from here on leaves its hint behind this one.
        returned.swap(NONE, AcqRel);
        let share = self.capacity() / STRIPES;
        let first = stripe * share;
        let begin = (hint as usize + 1).saturating_sub(first);
        let mut places = (0..share).map(|step| first + (begin + step) % share);
        let index = places.find(|&index| self.hold(index))?;
        returned.store(index as u32, Relaxed);
        Some(Reserved { index })
    }

    /// Takes this entry if it is free.
    #[inline(always)]
    fn hold(&self, index: usize) -> bool {
        let Some(entry) = self.entries.get(index) else { return false };
        // Acquire pairs with the release of whoever gave the entry back.
        let state = entry.state.load(Acquire);
        let free = phase_of(state) == FREE;
        if free {
            entry.state.store(state | HELD, Relaxed);
        }
        free
    }

    /// Gives a reserved entry back unopened.
    pub(crate) fn cancel(&self, reserved: &Reserved) {
        if let Some(entry) = self.entries.get(reserved.index) {
            self.give_back(reserved.index, entry, entry.state.load(Relaxed) & !HELD);
        }
    }

    /// Opens a ticket in a reserved entry.
    #[inline(always)]
    pub(crate) fn open(&self, reserved: Reserved, charge: Charge, deadline: u64) -> Ticket {
        let Some(entry) = self.entries.get(reserved.index) else { return Ticket::UNTRACKED };
        entry.store(charge, deadline);
        let ticket = Ticket::of(reserved.index, entry.state.load(Relaxed));
        // Release: whoever sees the ticket open sees the fields stored before.
        entry.state.store(ticket.state(WAITING), Release);
        ticket
    }

    /// Frees a held entry. Release: whoever sees the free state also sees that this thread is done
    /// with the fields.
    #[inline]
    fn give_back(&self, index: usize, entry: &Entry, free: u64) {
        entry.state.store(free, Release);
        self.returned.of(entry.stripe as usize).store(index as u32, Release);
    }

    /// Whom a waiting ticket concerns, before [`Tickets::first_token`] is taken. The values mean
    /// something only if that then succeeds.
    pub(crate) fn peek(&self, ticket: Ticket) -> Option<Parties> {
        let entry = self.entries.get(ticket.index())?;
        Some(Parties(entry.parties.load(Relaxed)))
    }

    /// Takes the step from waiting to streaming; what the ticket holds, for the one who took it.
    pub(crate) fn first_token(
        &self,
        ticket: Ticket,
        cached_known: bool,
    ) -> Result<Charge, TicketError> {
        let entry = self.entries.get(ticket.index()).ok_or(TicketError::Unknown)?;
        let (waiting, streaming) = (ticket.state(WAITING), ticket.state(STREAMING));
        let state = entry.state.load(Acquire);
        // Read before the exchange: its success proves that the entry was this ticket's throughout.
        let charge = entry.load();
        let taken = if state == waiting {
            entry.state.compare_exchange(waiting, streaming, AcqRel, Acquire)
        } else {
            Err(state)
        };
        match taken {
            Ok(_) => {
                // Should the request complete and the entry be opened anew at this very moment, the
                // next ticket carries the hint: one sample of an estimate is left out.
                if cached_known {
                    entry.bytes.fetch_or(CACHED_KNOWN, Relaxed);
                }
                Ok(charge)
            }
            Err(state) if state == streaming => Err(TicketError::FirstTokenTwice),
            Err(state) => Err(refusal(ticket, state)),
        }
    }

    /// Puts the deadline off.
    pub(crate) fn renew(&self, ticket: Ticket, deadline: u64) -> Result<(), TicketError> {
        let entry = self.entries.get(ticket.index()).ok_or(TicketError::Unknown)?;
        let state = entry.state.load(Acquire);
        if !ticket.is_open_in(state) {
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
            if !ticket.is_open_in(state) {
                return Err(refusal(ticket, state));
            }
            match entry.state.compare_exchange(state, ticket.state(HELD), AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        let parties = Parties(entry.parties.load(Relaxed));
        let first_token_seen = phase_of(state) == STREAMING;
        Ok(Closed { tickets: self, entry, ticket, parties, first_token_seen })
    }

    /// Whether any entry that is not free names the policy. O(capacity).
    pub(crate) fn in_use(&self, policy: u16) -> bool {
        let names = |entry: &Entry| entry.load().parties.policy() == policy;
        self.entries.iter().any(|entry| entry.phase() != FREE && names(entry))
    }

    /// How many parts [`Tickets::open_in`] can be asked for.
    pub(crate) fn parts(&self) -> usize {
        self.entries.len() / SWEEP
    }

    /// The open tickets among the [`SWEEP`] of this part: whom each concerns, and its deadline.
    pub(crate) fn open_in(&self, part: usize) -> impl Iterator<Item = (Ticket, Parties, u64)> {
        let first = part * SWEEP;
        self.entries.iter().enumerate().skip(first).take(SWEEP).filter_map(|(index, entry)| {
            let state = entry.state.load(Acquire);
            let ticket = Ticket::of(index, state);
            let parties = Parties(entry.parties.load(Relaxed));
            ticket.is_open_in(state).then(|| (ticket, parties, entry.deadline.load(Relaxed)))
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

/// Why a ticket whose entry is in this state cannot be used.
#[cold]
fn refusal(ticket: Ticket, state: u64) -> TicketError {
    // A free entry's own generation has not been given out yet.
    let latest = state >> INDEX_BITS;
    let given = if phase_of(state) == FREE { 1..latest } else { 1..latest + 1 };
    if given.contains(&ticket.generation()) { TicketError::Closed } else { TicketError::Unknown }
}

#[inline]
fn phase_of(state: u64) -> u64 {
    state & LOW
}

/// The free state that follows the one in which a ticket of this generation was. After the last
/// generation comes the first: a ticket of generation 0 in entry 0 would be [`Ticket::UNTRACKED`].
#[inline]
fn after(state: u64) -> u64 {
    const _: () = assert!(FREE == 0);
    match (state | LOW).wrapping_add(1) {
        0 => 1 << INDEX_BITS,
        next => next,
    }
}

impl Entry {
    fn new(stripe: usize) -> Self {
        Entry {
            state: AtomicU64::new(1 << INDEX_BITS | FREE),
            parties: AtomicU64::new(0),
            dispatched: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            work: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stripe: stripe as u32,
        }
    }

    /// Relaxed: the state's exchange that follows publishes these.
    #[inline(always)]
    fn store(&self, charge: Charge, deadline: u64) {
        self.parties.store(charge.parties.0, Relaxed);
        self.dispatched.store(charge.dispatched, Relaxed);
        self.deadline.store(deadline, Relaxed);
        self.work.store(pack(charge.work_tokens, charge.matched_tokens), Relaxed);
        self.tokens.store(pack(charge.prompt_tokens, charge.resident_tokens), Relaxed);
        self.bytes.store(charge.prompt_bytes.into(), Relaxed);
    }

    #[inline]
    fn load(&self) -> Charge {
        let (work_tokens, matched_tokens) = unpack(self.work.load(Relaxed));
        let (prompt_tokens, resident_tokens) = unpack(self.tokens.load(Relaxed));
        Charge {
            parties: Parties(self.parties.load(Relaxed)),
            dispatched: self.dispatched.load(Relaxed),
            work_tokens,
            matched_tokens,
            prompt_tokens,
            resident_tokens,
            prompt_bytes: self.bytes.load(Relaxed) as u32,
            cached_known: self.bytes.load(Relaxed) & CACHED_KNOWN != 0,
        }
    }

    fn phase(&self) -> u64 {
        phase_of(self.state.load(Acquire))
    }
}

impl Closed<'_> {
    /// All that the ticket held.
    #[inline]
    pub(crate) fn charge(&self) -> Charge {
        self.entry.load()
    }

    /// KV tokens charged to the slot that serves.
    #[inline]
    pub(crate) fn resident_tokens(&self) -> u32 {
        unpack(self.entry.tokens.load(Relaxed)).1
    }
}

impl Drop for Closed<'_> {
    #[inline]
    fn drop(&mut self) {
        let free = after(self.ticket.0);
        self.tickets.give_back(self.ticket.index(), self.entry, free);
    }
}

impl Parties {
    #[inline]
    pub(crate) fn new(slot: u16, prefill: Option<u16>, policy: u16, notify: bool) -> Self {
        let prefill = prefill.map_or(0, |slot| u64::from(slot) + 1);
        Parties(u64::from(slot) | prefill << 16 | u64::from(policy) << 32 | u64::from(notify) << 48)
    }

    /// The slot that serves: regular or decode.
    #[inline]
    pub(crate) fn slot(self) -> u16 {
        self.0 as u16
    }

    /// The slot that computes the prompt, if it is another one.
    #[inline]
    pub(crate) fn prefill(self) -> Option<u16> {
        ((self.0 >> 16) as u16).checked_sub(1)
    }

    /// The slot that computes the prompt.
    #[inline]
    pub(crate) fn worked(self) -> u16 {
        self.prefill().unwrap_or(self.slot())
    }

    /// Index of the policy that decided.
    #[inline]
    pub(crate) fn policy(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Whether that policy listens to events.
    #[inline]
    pub(crate) fn notify(self) -> bool {
        self.0 >> 48 & 1 == 1
    }

    /// Whether there is one worker only, and nobody listens.
    #[inline]
    pub(crate) fn is_simple(self) -> bool {
        self.0 & (0xffff << 16 | 1 << 48) == 0
    }
}

fn pack(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn unpack(both: u64) -> (u32, u32) {
    ((both >> 32) as u32, both as u32)
}
