//! What a request notes at its dispatch for the report at its end, and the longest match that it could have had: 64
//! bytes beside its entry, written where a prompt was read only.
//!
//! A note bears the lower half of its ticket's generation, so that none is taken for an earlier ticket's. Relaxed: as
//! the entry's fields, a note is written before the store that opens the ticket, by the thread that reserved the
//! entry, and read after the compare-exchange that closes it. What the first token says is added by one
//! read-modify-write; where the entry is opened anew at this very moment, it is left out by the next note, or the next
//! report takes it for its own: one sample. The best match is also read while the ticket is open, by
//! [`Tickets::best_match`](super::table::Tickets::best_match), which looks at the entry before and after.

use super::number::Ticket;
use crate::policy::BestMatch;
use crate::prefix::Lines;
use crate::prefix::breaks::{NOTE_WORDS, Note};
use crate::sync::atomic::Ordering::{Relaxed, Release};
use crate::sync::fence;
use crate::worker::WorkerId;

/// Where the lower half of the ticket's generation lies.
const GENERATION: usize = 1;
/// Where the tokens that the first token called cached lie, plus one.
const CACHED: usize = 2;
const UPPER: u64 = !0 << 32;
/// Behind the note: the best match's worker, 0 where there is none, and its tokens.
const BEST: usize = NOTE_WORDS;
const BEST_TOKENS: usize = NOTE_WORDS + 1;

/// Fresh pages until they are written.
pub(super) struct Notes(Option<Lines>);

impl Notes {
    /// One for each entry, or none at all; also where the memory is not to be had.
    pub(super) fn new(entries: usize) -> Notes {
        Notes(if entries == 0 { None } else { Lines::new(entries) })
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |lines| size_of_val(&**lines) + Lines::SLACK)
    }

    /// The caller holds the ticket's entry.
    pub(super) fn write(&self, ticket: Ticket, note: &Note, best: Option<BestMatch>) {
        let Some(line) = self.line(ticket.index()) else { return };
        // A thread that sees any of this also sees that the entry's last ticket is closed.
        fence(Release);
        let mut words = note.0;
        words[GENERATION] |= ticket.generation() << 32;
        line.0.iter().zip(words).for_each(|(place, word)| place.store(word, Relaxed));
        let (worker, tokens) = best.map_or((0, 0), |best| (best.worker.to_raw(), best.tokens));
        line.0[BEST].store(worker, Relaxed);
        line.0[BEST_TOKENS].store(tokens.into(), Relaxed);
    }

    /// The best match noted for this ticket, if it has been open throughout.
    pub(super) fn best_match(&self, ticket: Ticket) -> Option<BestMatch> {
        let line = self.line(ticket.index())?;
        let of = |word: usize| line.0[word].load(Relaxed);
        let is_its = of(GENERATION) & UPPER == ticket.generation() << 32;
        let (worker, tokens) = (of(BEST), of(BEST_TOKENS) as u32);
        let best = BestMatch { worker: WorkerId::from_raw(worker), tokens };
        (is_its && worker != 0).then_some(best)
    }

    /// The note of a ticket, if it has one, and the tokens that its first token called cached.
    pub(super) fn read(&self, ticket: Ticket) -> Option<(Note, Option<u32>)> {
        let line = self.line(ticket.index())?;
        let mut words = [0; NOTE_WORDS];
        words.iter_mut().zip(&line.0).for_each(|(word, place)| *word = place.load(Relaxed));
        if words[GENERATION] & UPPER != ticket.generation() << 32 {
            return None;
        }
        let cached = (words[CACHED] as u32).checked_sub(1);
        Some((Note(words), cached))
    }

    pub(super) fn first_token(&self, ticket: Ticket, cached: u32) {
        if let Some(line) = self.line(ticket.index()) {
            line.0[CACHED].fetch_or(u64::from(cached.saturating_add(1)), Relaxed);
        }
    }

    fn line(&self, index: usize) -> Option<&crate::prefix::Line> {
        self.0.as_ref()?.get(index)
    }
}

impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Notes").field(&self.bytes()).finish()
    }
}
