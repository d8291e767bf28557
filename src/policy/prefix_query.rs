//! A prompt's fingerprint and the router's prefix tree, as lent to policies.

use std::cell::{Cell, RefCell};

use crate::prefix::{Fingerprint, Matches, PrefixTree};

/// Answers how much of one prompt each worker holds. Lives on the stack for one request; the tree is
/// searched at most once, when it is first asked.
#[derive(Debug)]
pub struct PrefixQuery<'a> {
    tree: &'a PrefixTree,
    fingerprint: Fingerprint<'a>,
    tokens_per_block: f32,
    matches: RefCell<Matches>,
    found: Cell<bool>,
}

impl<'a> PrefixQuery<'a> {
    pub(crate) fn new(
        tree: &'a PrefixTree,
        fingerprint: Fingerprint<'a>,
        tokens_per_block: f32,
    ) -> Self {
        PrefixQuery {
            tree,
            fingerprint,
            tokens_per_block,
            matches: RefCell::new(Matches::new()),
            found: Cell::new(false),
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
    pub fn tokens(&self, blocks: usize) -> u32 {
        (blocks as f32 * self.tokens_per_block) as u32
    }

    /// Hands the matches to `read`: leading blocks by slot.
    pub fn matches<T>(&self, read: impl FnOnce(&Matches) -> T) -> T {
        if !self.found.replace(true) {
            self.tree.find(self.fingerprint.blocks(), &mut self.matches.borrow_mut());
        }
        read(&self.matches.borrow())
    }

    /// Notes that the worker in this slot is being sent the prompt, and holds it from here on.
    pub fn remember(&self, slot: usize) {
        let blocks = self.fingerprint.blocks();
        self.matches(|matches| self.tree.remember(blocks, matches, slot));
    }
}
