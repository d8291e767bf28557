//! What a request notes at its dispatch for the report at its end: 64 bytes beside its entry, written where there is
//! something to note only.
//!
//! A note bears the lower half of its ticket's generation, so that none is taken for an earlier ticket's. Relaxed: as
//! the entry's fields, a note is written before the store that opens the ticket, by the thread that reserved the
//! entry, and read after the compare-exchange that closes it. What the first token says is added by one
//! read-modify-write; where the entry is opened anew at this very moment, it is left out by the next note, or the next
//! report takes it for its own: one sample.

use super::number::Ticket;
use crate::prefix::Lines;
use crate::prefix::breaks::{NOTE_WORDS, Note};
use crate::sync::atomic::Ordering::Relaxed;

/// Where the lower half of the ticket's generation lies.
const GENERATION: usize = 1;
/// Where the tokens that the first token called cached lie, plus one.
const CACHED: usize = 2;
const UPPER: u64 = !0 << 32;

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

    pub(super) fn write(&self, index: usize, generation: u64, note: &Note) {
        let Some(line) = self.line(index) else { return };
        let mut words = note.0;
        words[GENERATION] |= generation << 32;
        line.0.iter().zip(words).for_each(|(place, word)| place.store(word, Relaxed));
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
