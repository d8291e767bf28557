//! Beside the table of tickets: the longest match that each request could have had.
//!
//! Apart from the entries, so that requests whose prompt is not read pay nothing: what an earlier ticket has left
//! names that ticket.

use super::number::Ticket;
use crate::policy::BestMatch;
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release},
};
use crate::sync::fence;
use crate::worker::WorkerId;

/// The best matches of tickets, by their index.
#[derive(Debug)]
pub(super) struct BestMatches(Box<[Noted]>);

#[derive(Debug, Default)]
struct Noted {
    ticket: AtomicU64,
    worker: AtomicU64,
    tokens: AtomicU64,
}

impl BestMatches {
    pub(super) fn new(tickets: usize) -> Self {
        BestMatches((0..tickets).map(|_| Noted::default()).collect())
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// The caller holds the ticket's entry. Relaxed: the store that opens the ticket publishes these.
    pub(super) fn note(&self, ticket: Ticket, best: BestMatch) {
        // A thread that sees any of these also sees that the entry's last ticket is closed.
        fence(Release);
        if let Some(noted) = self.0.get(ticket.index()) {
            noted.ticket.store(ticket.to_raw(), Relaxed);
            noted.worker.store(best.worker.to_raw(), Relaxed);
            noted.tokens.store(best.tokens.into(), Relaxed);
        }
    }

    /// What was noted for this ticket, if it has been open throughout.
    pub(super) fn of(&self, ticket: Ticket) -> Option<BestMatch> {
        let noted = self.0.get(ticket.index())?;
        let worker = WorkerId::from_raw(noted.worker.load(Relaxed));
        let best = BestMatch { worker, tokens: noted.tokens.load(Relaxed) as u32 };
        (noted.ticket.load(Relaxed) == ticket.to_raw()).then_some(best)
    }
}
