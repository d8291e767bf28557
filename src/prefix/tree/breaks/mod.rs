//! Where workers have reported to hold less of a path than was believed.
//!
//! A report is about what the engine held *before* the request; with the request it has computed, and holds,
//! the rest again. So the path itself is believed as before, once. What hangs below the lost depth and is not
//! the path's own continuation is believed no more. Where a continuation of the path reports about the same
//! depth again, what lies beyond it is changed each time (a template that writes a date, or drops the reasoning):
//! from there on, the depth is a **ceiling** for that worker, until a report proves more.
//!
//! A break is noted under a **mark**, the hash of a block at one of a few fixed depths ([`depth_of`]): the first
//! mark of the path beyond the lost depth. So it concerns exactly the prompts that go on as the path did. A
//! dispatched request carries the marks of its path in a [`Note`], by which its report finds the place.
//!
//! # Concurrency
//!
//! All accesses are relaxed. An entry's claim is one word and says all that lowers a belief; it is changed by
//! compare-exchange, and a lost race loses one report. The other word says which continuation is the path's
//! own, and names the claim that it is of; where the two are of different writes, the belief is too low for one
//! request. A slot's entries go when it is registered, before anything is sent to its worker, and reports about
//! an earlier worker have ended by then, as a slot changes workers only without load.

mod marks;
mod table;

use marks::{MARKS, depth_of, index_in, key_of, marks, top_mark};
pub(super) use table::Breaks;
use table::{BLOCKS, CEILING, Claim};

use super::PrefixTree;
use super::matches::{Cut, Matches};
use crate::sync::Ordering::Relaxed;

/// Words of a note.
pub(crate) const NOTE_WORDS: usize = 6;

/// What a request's report needs to know of its path:
///
/// ```text
///   0    [ believed blocks : 20 | without breaks : 20 | top mark's index : 8 ]
///   1    [ - : 32 | entry : 16 | has one : 1 | continues its path : 1 ]       upper half: the ticket's
///   2    [ entry's key : 32 | - : 32 ]                                        lower half: the ticket's
///   3-5  marks, 32 bits each, the fifth the deepest; the prompt's last block
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note(pub(crate) [u64; NOTE_WORDS]);

impl Note {
    /// The end of the prompt.
    pub(super) fn end(&self) -> u32 {
        (self.0[NOTE_WORDS - 1] >> 32) as u32
    }

    /// What stands for a prompt that ends in this block.
    pub(super) fn end_of(block: u64) -> u32 {
        key_of(block)
    }
}

impl PrefixTree {
    /// Lowers what a lookup has found to what reports say.
    #[cold]
    pub(super) fn lower(&self, blocks: &[u64], matches: &mut Matches) {
        let mut lowered = false;
        for (_, key) in marks(blocks).filter(|&(_, key)| self.breaks.has_seen(key)) {
            for at in 0..matches.holders.len() {
                let holder = matches.holders[at];
                let Some((index, claim)) = self.breaks.find(key, holder.slot) else { continue };
                let continues = self.breaks.continues(index, key, blocks);
                let lowers = !continues || claim.row() >= CEILING;
                let (ceiling, is_above) = (claim.ceiling(), holder.blocks > claim.ceiling());
                if lowers && is_above {
                    matches.holders[at].blocks = ceiling;
                    lowered = true;
                }
                let known = matches.cuts.iter_mut().find(|cut| cut.slot == holder.slot);
                let was = known.as_ref().map_or(holder.blocks, |cut| cut.was);
                let cut = Cut { slot: holder.slot, entry: index as u16, key, was, continues };
                match known {
                    Some(known) if lowers && is_above => *known = cut,
                    Some(_) => {}
                    // Where there is no room, a report about this worker finds no entry to change.
                    None => drop(matches.cuts.try_push(cut)),
                }
            }
        }
        if lowered {
            matches.holders.retain(|holder| holder.blocks > 0);
            matches.sort();
        }
    }

    /// The same for one worker that the lookup has not listed.
    #[cold]
    pub(super) fn lowered(&self, blocks: &[u64], slot: u16, found: u32) -> u32 {
        let mut least = found;
        for (_, key) in marks(blocks).filter(|&(_, key)| self.breaks.has_seen(key)) {
            if let Some((index, claim)) = self.breaks.find(key, slot) {
                if claim.row() >= CEILING || !self.breaks.continues(index, key, blocks) {
                    least = least.min(claim.ceiling());
                }
            }
        }
        least
    }

    /// The worker is sent a prompt that lost its place below a break: it holds it again, so both count.
    pub(super) fn rejoin(&self, matches: &Matches, slot: u16) {
        let cut = matches.cuts.iter().find(|cut| cut.slot == slot && !cut.continues);
        if let Some(entry) = cut.and_then(|cut| self.breaks.entries.get(usize::from(cut.entry))) {
            entry.tail.store(0, Relaxed);
        }
    }

    /// What a report about this prompt, which goes to the worker in `slot`, needs to know; `None` where the
    /// prompt has no block.
    pub(crate) fn note(&self, blocks: &[u64], matches: &Matches, slot: u16) -> Option<Note> {
        let mut words = [0; NOTE_WORDS];
        words[NOTE_WORDS - 1] = u64::from(Note::end_of(*blocks.last()?)) << 32;
        let believed = self.leading(blocks, matches, slot);
        let cut = matches.cuts.iter().find(|cut| cut.slot == slot);
        // Where nothing is believed, there is nothing to correct.
        let is_new = believed == 0 && cut.is_none();
        let top = top_mark(blocks.len()).filter(|_| !is_new && !self.breaks.entries.is_empty());
        let Some(top) = top else { return Some(Note(words)) };
        let was = cut.map_or(believed, |cut| cut.was);
        let clamp = |blocks: u32| u64::from(blocks).min(BLOCKS);
        words[0] = clamp(believed) << 28 | clamp(was) << 8 | top as u64;
        if let Some(cut) = cut {
            words[1] = u64::from(cut.entry) << 2 | 2 | u64::from(cut.continues);
            words[2] = u64::from(cut.key) << 32;
        }
        for at in 0..MARKS {
            let key = key_of(*blocks.get(depth_of(index_in(at, top)) - 1)?);
            words[3 + at / 2] |= u64::from(key) << (at % 2 * 32);
        }
        Some(Note(words))
    }

    /// The worker in `slot` says that it held so many blocks of a prompt before it was sent it.
    pub(crate) fn report(&self, slot: u16, note: &Note, held: u32) {
        let believed = (note.0[0] >> 28 & BLOCKS) as u32;
        let was = (note.0[0] >> 8 & BLOCKS) as u32;
        let slack = 2 + believed / 16;
        let is_low = held + slack < believed;
        let Some((index, claim)) = self.entry_of(slot, note) else {
            if is_low {
                self.insert_first(slot, note, held);
            }
            return;
        };
        let continues = note.0[1] & 1 == 1;
        let moved = |ceiling, row| Claim::new(claim.key(), ceiling, slot, row);
        if claim.row() >= CEILING && is_low {
            self.breaks.change(index, claim, moved(held, CEILING));
        } else if is_low && continues && held.abs_diff(claim.ceiling()) <= slack {
            self.breaks.change(index, claim, moved(held, claim.row() + 1));
        } else if is_low {
            self.breaks.remove(index, claim);
            self.insert_first(slot, note, held);
        } else if believed < was && held + slack >= was {
            self.breaks.remove(index, claim);
        } else if believed < was && held > claim.ceiling() {
            self.breaks.change(index, claim, moved(held, claim.row()));
        } else if claim.row() < CEILING && continues {
            // Only reports in a row make a ceiling.
            self.breaks.change(index, claim, moved(claim.ceiling(), 0));
        }
    }

    fn entry_of(&self, slot: u16, note: &Note) -> Option<(usize, Claim)> {
        if note.0[1] & 2 == 0 {
            return None;
        }
        let index = (note.0[1] >> 2) as usize & 0xffff;
        let claim = Claim(self.breaks.entries.get(index)?.claim.load(Relaxed));
        claim.is((note.0[2] >> 32) as u32, slot).then_some((index, claim))
    }

    /// Under the first mark beyond what was held. Where there is none, it was nearly all.
    fn insert_first(&self, slot: u16, note: &Note, held: u32) {
        let top = note.0[0] as usize & 0xff;
        let mark = |at: usize| (note.0[3 + at / 2] >> (at % 2 * 32)) as u32;
        let beyond = (0..MARKS).find(|&at| depth_of(index_in(at, top)) > held as usize);
        let Some(key) = beyond.map(mark) else { return };
        let tail =
            u64::from(mark(MARKS - 1)) << 32 | (top as u64) << 24 | u64::from(key & 0xff_ffff);
        self.breaks.insert(Claim::new(key, held, slot, 1), tail);
    }
}
