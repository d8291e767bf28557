//! What the thread that holds an entry, to open or to close it, can note and ask.

use super::charge::Charge;
use super::entry::{STREAMING, WAITING, unpack};
use super::number::Ticket;
use super::table::{Closed, Reserved};
use crate::policy::BestMatch;
use crate::prefix::breaks::Note;
use crate::sync::atomic::Ordering::Relaxed;

impl Reserved<'_> {
    /// Notes what the report of the ticket that is opened here will need, and the longest match that its
    /// request could have had.
    pub(crate) fn note(&self, note: &Note, best: Option<BestMatch>) {
        let ticket = Ticket::of(self.index, self.entry.state.load(Relaxed));
        self.tickets.notes.write(ticket, note, best);
    }
}

impl Closed<'_> {
    pub(crate) fn first_token_seen(&self) -> bool {
        self.phase == STREAMING
    }

    /// Whether a prefill worker's load is still to be given back.
    pub(crate) fn prefill_charged(&self) -> bool {
        self.phase == WAITING
    }

    /// All that the ticket held.
    #[inline]
    pub(crate) fn charge(&self) -> Charge {
        self.entry.load()
    }

    /// What was noted at dispatch, if anything, and the tokens that the first token called cached.
    pub(crate) fn note(&self) -> Option<(Note, Option<u32>)> {
        self.tickets.notes.read(self.ticket)
    }

    /// KV tokens charged to the slot that serves.
    #[inline]
    pub(crate) fn resident_tokens(&self) -> u32 {
        unpack(self.entry.tokens.load(Relaxed)).1
    }
}
