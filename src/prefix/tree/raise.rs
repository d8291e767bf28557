//! Answers noted, and looked up: see `answers`.

use super::PrefixTree;
use super::answers::Answers;
use super::breaks::Note;
use super::matches::Matches;

impl PrefixTree {
    /// The worker in `slot` has answered the prompt of this note by so many blocks.
    pub(crate) fn answered(&self, slot: u16, note: &Note, blocks: u64) {
        let place = self.answers.place(note.end(), slot, self.slots.registered_at(slot));
        if let Some(place) = place.filter(|_| blocks > 0) {
            self.answers.note(place, blocks);
        }
    }

    /// Raises what a lookup has found by the answers that the prompt may contain.
    #[inline(never)]
    pub(super) fn raise(&self, blocks: &[u64], matches: &mut Matches) {
        let mut raised = false;
        for holder in &mut matches.holders {
            let Some(&end) = blocks.get((holder.blocks as usize).wrapping_sub(1)) else { continue };
            let (end, registered_at) = (Note::end_of(end), self.slots.registered_at(holder.slot));
            let place = self.answers.place(end, holder.slot, registered_at);
            let Some(answer) = place.and_then(Answers::blocks) else { continue };
            let further = u64::from(holder.blocks) + answer;
            if further <= blocks.len() as u64 {
                holder.blocks = further as u32;
                raised = true;
            }
        }
        if raised {
            matches.sort();
        }
    }
}
