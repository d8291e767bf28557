//! Tickets: the duty to give the load back once.
//!
//! A fixed table of entries, reached by index. An entry's state word says in which generation and
//! phase it is:
//!
//! ```text
//!   free(g) --open--> waiting(g) --first token--> streaming(g) --+--> closing(g) --> free(g + 1)
//!                        |                                       |
//!                        +---------------- close ----------------+
//! ```
//!
//! Every arrow is taken by compare-exchange or by the thread that owns the entry, so exactly one
//! thread wins each transition, and with it the duty that the transition stands for: giving back the
//! prefill worker's load (first token) or all that is left (close). A ticket number names index and
//! generation; a number from the past fails the exchange and harms nothing.
//!
//! **Allocation.** A bitmap has one bit per entry. A thread starts at its own stripe's words, so
//! threads claim and return bits on different cache lines while the table is not nearly full. The
//! thread whose `fetch_or` turned a bit from 0 to 1 owns the entry until it publishes it.
//!
//! **Removal.** A worker's removal must not miss a ticket that is just being opened. The opener
//! charges the worker, publishes the ticket, then checks that the worker's slot still has the
//! generation it chose; the remover changes the generation, then closes all published tickets of the
//! slot. All four are sequentially consistent, so either the opener sees the new generation and
//! closes its own ticket, or the remover sees the ticket; if both do, the exchange decides.

use crossbeam_utils::CachePadded;

use crate::error::TicketError;
use crate::stripe::{self, STRIPES};
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};

const INDEX_BITS: u32 = 20;
/// The largest table.
pub(crate) const MAX_TICKETS: usize = 1 << INDEX_BITS;

const PHASE_BITS: u32 = 2;
/// Beside the prompt's length in bytes: the first token said how much of the prompt was cached.
const CACHED_KNOWN: u64 = 1 << 32;
const FREE: u64 = 0;
const WAITING: u64 = 1;
const STREAMING: u64 = 2;
const CLOSING: u64 = 3;

/// The number of an open request: what the host hands back when the request is over.
///
/// 0 is a request that could not be tracked because the table was full. Such requests are spread at
/// random; they count neither as load nor towards limits, and completing them teaches nothing. Watch
/// `pointsman_tickets_untracked_total`: where it rises, tickets are not completed, or `max_tickets` is
/// too small. Tickets and worker ids mean something to the router that gave them out only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

    fn new(index: usize, generation: u64) -> Self {
        Ticket(generation << INDEX_BITS | index as u64)
    }

    fn index(self) -> usize {
        (self.0 as usize) & (MAX_TICKETS - 1)
    }

    fn generation(self) -> u64 {
        self.0 >> INDEX_BITS
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
}

/// All tickets of one router.
#[derive(Debug)]
pub(crate) struct Tickets {
    entries: Box<[Entry]>,
    /// Which entries are taken, 64 to a word.
    taken: Box<[CachePadded<AtomicU64>]>,
}

/// An entry that is taken but not open yet.
#[derive(Debug)]
pub(crate) struct Reserved {
    index: usize,
}

/// A closed ticket. Its entry is given back when this is dropped; until then it is still taken, so a
/// policy that it names is still in use.
#[derive(Debug)]
pub(crate) struct Closed<'a> {
    word: &'a AtomicU64,
    entry: &'a Entry,
    ticket: Ticket,
    pub(crate) parties: Parties,
    pub(crate) first_token_seen: bool,
}

impl Tickets {
    /// A table for this many open requests, rounded up to a multiple of 64.
    pub(crate) fn new(capacity: usize) -> Self {
        let words = capacity.clamp(1, MAX_TICKETS).div_ceil(64);
        Tickets {
            entries: (0..words * 64).map(|_| Entry::new()).collect(),
            taken: (0..words).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
        }
    }

    /// How many tickets can be open at once.
    pub(crate) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Bytes held, whatever the traffic.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.entries) + size_of_val(&*self.taken)
    }

    /// How many tickets are open. O(capacity / 64).
    pub(crate) fn open_count(&self) -> usize {
        self.taken.iter().map(|word| word.load(Relaxed).count_ones() as usize).sum()
    }

    /// Takes an entry for a ticket that is about to be opened; `None` if the table is full. O(1)
    /// while it is not nearly full, at worst O(capacity / 64).
    ///
    /// The search starts at the thread's own words.
    #[inline]
    pub(crate) fn reserve(&self) -> Option<Reserved> {
        let start = stripe::current() * self.taken.len() / STRIPES;
        match self.reserve_in(start) {
            Some(reserved) => Some(reserved),
            None => self.reserve_after(start),
        }
    }

    #[inline]
    fn reserve_in(&self, index: usize) -> Option<Reserved> {
        let word = self.taken.get(index)?;
        let mut bits = word.load(Relaxed);
        while bits != u64::MAX {
            let bit = bits.trailing_ones();
            // Acquire pairs with the release of whoever gave the entry back.
            if word.fetch_or(1 << bit, Acquire) & (1 << bit) == 0 {
                return Some(Reserved { index: index * 64 + bit as usize });
            }
            bits = word.load(Relaxed);
        }
        None
    }

    #[inline(never)]
    fn reserve_after(&self, full: usize) -> Option<Reserved> {
        (full + 1..self.taken.len()).chain(0..full).find_map(|index| self.reserve_in(index))
    }

    /// Gives a reserved entry back unopened.
    pub(crate) fn cancel(&self, reserved: &Reserved) {
        if let Some(word) = self.taken.get(reserved.index / 64) {
            word.fetch_and(!(1 << (reserved.index % 64)), Release);
        }
    }

    /// Opens a ticket in a reserved entry.
    #[inline]
    pub(crate) fn open(&self, reserved: Reserved, charge: &Charge, deadline: u64) -> Ticket {
        let Some(entry) = self.entries.get(reserved.index) else { return Ticket::UNTRACKED };
        entry.store(charge, deadline);
        // The reserved bit makes this thread the only one that may leave the free phase.
        let generation = (entry.state.load(Relaxed) >> PHASE_BITS).max(1);
        // SeqCst: see "Removal" above. It also publishes the fields stored before.
        entry.state.swap(generation << PHASE_BITS | WAITING, SeqCst);
        Ticket::new(reserved.index, generation)
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
        let waiting = ticket.generation() << PHASE_BITS | WAITING;
        let streaming = ticket.generation() << PHASE_BITS | STREAMING;
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
            Err(state) => Err(self.refusal(ticket, state)),
        }
    }

    /// Puts the deadline off.
    pub(crate) fn renew(&self, ticket: Ticket, deadline: u64) -> Result<(), TicketError> {
        let entry = self.entries.get(ticket.index()).ok_or(TicketError::Unknown)?;
        let state = entry.state.load(Acquire);
        if state >> PHASE_BITS != ticket.generation() || !is_open(state) {
            return Err(self.refusal(ticket, state));
        }
        // If the ticket is closed at this moment, the entry's next owner sets its own deadline.
        entry.deadline.store(deadline, Relaxed);
        Ok(())
    }

    /// Closes a ticket: exactly one caller gets what it held.
    #[inline]
    pub(crate) fn close(&self, ticket: Ticket) -> Result<Closed<'_>, TicketError> {
        let (entry, word) = self.place(ticket).ok_or(TicketError::Unknown)?;
        let closing = ticket.generation() << PHASE_BITS | CLOSING;
        let mut state = entry.state.load(Acquire);
        loop {
            if state >> PHASE_BITS != ticket.generation() || !is_open(state) {
                return Err(self.refusal(ticket, state));
            }
            match entry.state.compare_exchange(state, closing, AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        let parties = Parties(entry.parties.load(Relaxed));
        let first_token_seen = state & ((1 << PHASE_BITS) - 1) == STREAMING;
        Ok(Closed { word, entry, ticket, parties, first_token_seen })
    }

    /// The ticket's entry, and the word with the bit that says whether it is taken.
    #[inline]
    fn place(&self, ticket: Ticket) -> Option<(&Entry, &AtomicU64)> {
        let index = ticket.index();
        let entry = self.entries.get(index)?;
        let word = self.taken.get(index / 64)?;
        Some((entry, word))
    }

    /// The open tickets whose parties satisfy the predicate. SeqCst loads: see "Removal".
    /// O(capacity).
    pub(crate) fn held_by(&self, holds: impl Fn(&Parties) -> bool) -> impl Iterator<Item = Ticket> {
        (0..self.taken.len())
            .flat_map(|word| self.open_in(word))
            .filter(move |ticket| self.peek(*ticket).is_some_and(|parties| holds(&parties)))
    }

    /// Whether any entry that is not free names the policy. O(capacity).
    pub(crate) fn in_use(&self, policy: u16) -> bool {
        self.entries.iter().any(|entry| {
            let state = entry.state.load(SeqCst);
            state & ((1 << PHASE_BITS) - 1) != FREE && entry.load().parties.policy() == policy
        })
    }

    /// How many words [`Tickets::expired_in`] can be asked for.
    pub(crate) fn words(&self) -> usize {
        self.taken.len()
    }

    /// The tickets among the 64 of this word whose deadline has passed.
    ///
    /// No deadline lies more than `life` ahead, but for the `slack` between clocks, unless the clock was
    /// set back: such a ticket gets the deadline of one opened now.
    pub(crate) fn expired_in(
        &self,
        word: usize,
        now: u64,
        life: u64,
        slack: u64,
    ) -> impl Iterator<Item = Ticket> {
        let fresh = now.saturating_add(life);
        let latest = fresh.saturating_add(slack);
        self.open_in(word).filter(move |ticket| {
            let Some(entry) = self.entries.get(ticket.index()) else { return false };
            let deadline = entry.deadline.load(Relaxed);
            if deadline > latest {
                entry.deadline.store(fresh, Relaxed);
            }
            deadline <= now
        })
    }

    /// Frees every entry: only for a forked child, which inherits no request.
    pub(crate) fn clear(&self) {
        for entry in &self.entries {
            let state = entry.state.load(Relaxed);
            if state & ((1 << PHASE_BITS) - 1) != FREE {
                entry.free(state >> PHASE_BITS);
            }
        }
        self.taken.iter().for_each(|word| word.store(0, Relaxed));
    }

    fn open_in(&self, word: usize) -> impl Iterator<Item = Ticket> {
        let taken = self.taken.get(word).map_or(0, |bits| bits.load(SeqCst));
        (0..64).filter(move |bit| taken >> bit & 1 == 1).filter_map(move |bit| {
            let index = word * 64 + bit;
            let state = self.entries.get(index)?.state.load(SeqCst);
            is_open(state).then(|| Ticket::new(index, state >> PHASE_BITS))
        })
    }

    /// Why a ticket in this state cannot be used.
    #[cold]
    fn refusal(&self, ticket: Ticket, state: u64) -> TicketError {
        // A free entry's own generation has not been given out yet.
        let (latest, phase) = (state >> PHASE_BITS, state & ((1 << PHASE_BITS) - 1));
        let given = if phase == FREE { 1..latest } else { 1..latest + 1 };
        if given.contains(&ticket.generation()) {
            TicketError::Closed
        } else {
            TicketError::Unknown
        }
    }
}

fn is_open(state: u64) -> bool {
    matches!(state & ((1 << PHASE_BITS) - 1), WAITING | STREAMING)
}

impl Entry {
    fn new() -> Self {
        Entry {
            state: AtomicU64::new(1 << PHASE_BITS | FREE),
            parties: AtomicU64::new(0),
            dispatched: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            work: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Relaxed: the state's exchange that follows publishes these.
    #[inline]
    fn store(&self, charge: &Charge, deadline: u64) {
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

    /// Leaves the last generation for good. Release: whoever sees the free state also sees that the
    /// closer is done with the fields.
    #[inline]
    fn free(&self, generation: u64) {
        let next = (generation + 1) & (u64::MAX >> INDEX_BITS);
        self.state.store(next << PHASE_BITS | FREE, Release);
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
        self.entry.free(self.ticket.generation());
        // Release: the next owner of the bit sees the free state.
        self.word.fetch_and(!(1 << (self.ticket.index() % 64)), Release);
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
