//! A prompt's fingerprint and the router's prefix tree, as lent to policies.

use std::cell::{Cell, RefCell};

use crate::pool::snapshot::PoolSnapshot;
use crate::prefix::breaks::Note;
use crate::prefix::{Fingerprint, Holder, Matches, PrefixTree};

/// Answers how much of one prompt each worker holds. Lives on the stack for one request; the tree is
/// searched at most once, when it is first asked.
pub struct PrefixQuery<'a> {
    tree: &'a PrefixTree,
    pool: &'a PoolSnapshot,
    fingerprint: Fingerprint<'a>,
    tokens_per_block: f32,
    matches: RefCell<Matches>,
    searched: Cell<bool>,
}

impl<'a> PrefixQuery<'a> {
    pub(crate) fn new(
        tree: &'a PrefixTree,
        pool: &'a PoolSnapshot,
        fingerprint: Fingerprint<'a>,
        tokens_per_block: f32,
    ) -> Self {
        PrefixQuery {
            tree,
            pool,
            fingerprint,
            tokens_per_block,
            matches: RefCell::new(Matches::new()),
            searched: Cell::new(false),
        }
    }

    /// The prompt's fingerprint.
    pub fn fingerprint(&self) -> &Fingerprint<'a> {
        &self.fingerprint
    }

    /// Tokens to a block: exact for token prompts, estimated for text.
    pub fn tokens_per_block(&self) -> f32 {
        self.tokens_per_block
    }

    /// Leading blocks in tokens.
    #[inline]
    pub fn tokens(&self, blocks: u32) -> u32 {
        (blocks as f32 * self.tokens_per_block) as u32
    }

    /// Shows `read` the workers that hold the beginning of the prompt, the longest match first: all
    /// of them, unless very many hold the same prefix; [`PrefixQuery::blocks_of`] knows those, too.
    pub fn holders<T>(&self, read: impl FnOnce(&[Holder]) -> T) -> T {
        self.matches(|matches| read(matches.holders()))
    }

    /// As [`PrefixQuery::holders`], and whether these are all.
    pub(crate) fn listed<T>(&self, read: impl FnOnce(&[Holder], bool) -> T) -> T {
        self.matches(|matches| read(matches.holders(), matches.is_complete()))
    }

    /// Leading blocks of the prompt that the worker in this slot is believed to hold.
    pub fn blocks_of(&self, slot: usize) -> u32 {
        let blocks = self.fingerprint.blocks();
        self.matches(|matches| self.tree.leading(blocks, matches, slot as u16))
    }

    /// The same in tokens. Out of line: it is for the rare prefix that very many workers hold.
    #[inline(never)]
    pub(crate) fn tokens_of(&self, slot: usize) -> u32 {
        self.tokens(self.blocks_of(slot))
    }

    /// Leading blocks that any worker is believed to hold.
    pub fn longest(&self) -> u32 {
        self.holders(|holders| holders.first().map_or(0, |holder| holder.blocks))
    }

    /// The longest match of the workers that `admits` admits.
    pub(crate) fn best(&self, admits: impl Fn(usize) -> bool) -> Option<Holder> {
        self.holders(|all| all.iter().find(|holder| admits(holder.slot.into())).copied())
    }

    /// Notes that the worker in this slot is being sent the prompt, and holds it from here on.
    pub(crate) fn remember(&self, slot: usize) {
        let Some(residency) = self.pool.seat(slot).and_then(|seat| seat.residency) else { return };
        let blocks = self.fingerprint.blocks();
        self.matches(|matches| self.tree.remember(blocks, matches, slot as u16, residency));
    }

    /// What the request's report has to know, if the worker in this slot is sent the prompt.
    pub(crate) fn note(&self, slot: usize) -> Option<Note> {
        let blocks = self.fingerprint.blocks();
        self.matches(|matches| self.tree.note(blocks, matches, slot as u16))
    }

    fn matches<T>(&self, read: impl FnOnce(&Matches) -> T) -> T {
        if !self.searched.replace(true) {
            self.tree.find(self.fingerprint.blocks(), &mut self.matches.borrow_mut());
        }
        read(&self.matches.borrow())
    }
}

impl std::fmt::Debug for PrefixQuery<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrefixQuery")
            .field("header", self.fingerprint.header())
            .finish_non_exhaustive()
    }
}
