//! One entry of the table: its state word, and what it remembers.

use super::charge::{Charge, Participants};
use super::error::TicketError;
use super::number::{INDEX_BITS, LOW, Ticket};
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};

/// Beside the prompt's length in bytes: the first token said how much of the prompt was cached; and above that,
/// the prompt's turn.
pub(super) const CACHED_KNOWN: u64 = 1 << 32;
const TURN: u32 = 33;
pub(super) const FREE: u64 = 0;
/// Owned by the thread that opens or closes it.
pub(super) const HELD: u64 = 1;
// From here on it is open.
pub(super) const WAITING: u64 = 2;
pub(super) const STREAMING: u64 = 3;
/// As [`WAITING`], of a pair whose prefill worker has left and has had its load given back.
pub(super) const PREFILL_LEFT: u64 = 4;

#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Entry {
    pub(super) state: AtomicU64,
    /// [`Participants`].
    pub(super) participants: AtomicU64,
    pub(super) dispatched: AtomicU64,
    pub(super) deadline: AtomicU64,
    pub(super) work: AtomicU64,
    pub(super) tokens: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// The stripe whose share it belongs to, or the number of them.
    pub(super) share: u32,
}

impl Entry {
    pub(super) fn new(share: u32) -> Self {
        Entry {
            state: AtomicU64::new(1 << INDEX_BITS | FREE),
            participants: AtomicU64::new(0),
            dispatched: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            work: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            share,
        }
    }

    /// Relaxed: the store of the state that follows publishes these.
    #[inline(always)]
    pub(super) fn store(&self, charge: Charge, deadline: u64) {
        self.participants.store(charge.participants.0, Relaxed);
        self.dispatched.store(charge.dispatched, Relaxed);
        self.deadline.store(deadline, Relaxed);
        self.work.store(pack(charge.work_tokens, charge.matched_tokens), Relaxed);
        self.tokens.store(pack(charge.prompt_tokens, charge.resident_tokens), Relaxed);
        let turn = u64::from(charge.turn) << TURN;
        self.bytes.store(turn | u64::from(charge.prompt_bytes), Relaxed);
    }

    #[inline]
    pub(super) fn load(&self) -> Charge {
        let (work_tokens, matched_tokens) = unpack(self.work.load(Relaxed));
        let (prompt_tokens, resident_tokens) = unpack(self.tokens.load(Relaxed));
        Charge {
            participants: Participants(self.participants.load(Relaxed)),
            dispatched: self.dispatched.load(Relaxed),
            work_tokens,
            matched_tokens,
            prompt_tokens,
            resident_tokens,
            prompt_bytes: self.bytes.load(Relaxed) as u32,
            cached_known: self.bytes.load(Relaxed) & CACHED_KNOWN != 0,
            turn: (self.bytes.load(Relaxed) >> TURN) as u32,
        }
    }

    pub(super) fn phase(&self) -> u64 {
        phase_of(self.state.load(Acquire))
    }
}

/// Whether an entry in this state holds this ticket, open.
#[inline]
pub(super) fn is_open_in(ticket: Ticket, state: u64) -> bool {
    // Another generation is further away than there are phases.
    state.wrapping_sub(ticket.state(WAITING)) <= PREFILL_LEFT - WAITING
}

/// Why a ticket whose entry is in this state cannot be used.
#[cold]
pub(super) fn refusal(ticket: Ticket, state: u64) -> TicketError {
    // A free entry's own generation has not been given out yet.
    let latest = state >> INDEX_BITS;
    let given = if phase_of(state) == FREE { 1..latest } else { 1..latest + 1 };
    if given.contains(&ticket.generation()) { TicketError::Closed } else { TicketError::Unknown }
}

#[inline]
pub(super) fn phase_of(state: u64) -> u64 {
    state & LOW
}

/// The free state that follows the one in which a ticket of this generation was. After the last
/// generation comes the first: a ticket of generation 0 in entry 0 would be [`Ticket::UNTRACKED`].
#[inline]
pub(super) fn after(state: u64) -> u64 {
    const _: () = assert!(FREE == 0);
    match (state | LOW).wrapping_add(1) {
        0 => 1 << INDEX_BITS,
        next => next,
    }
}

pub(super) fn pack(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

pub(super) fn unpack(both: u64) -> (u32, u32) {
    ((both >> 32) as u32, both as u32)
}
