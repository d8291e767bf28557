//! Digest of one JSON value of any shape, independent of key order and white space.
//!
//! A key that occurs twice in an object counts twice.

use super::MAX_DEPTH;
use super::events::Shape;
use super::keyed::{Domain, Keyed};

/// The containers that are open inside the value, outermost first.
pub(super) struct Canon<'k> {
    keyed: Keyed<'k>,
    depth: usize,
    /// Bit `n` is set where the container at depth `n + 1` is an object.
    objects: u128,
    /// Per level: the sum over the object's entries, or the chain over the array's elements.
    inside: [u64; MAX_DEPTH],
    /// Per level: digest of the object's current key.
    keys: [u64; MAX_DEPTH],
}

impl<'k> Canon<'k> {
    pub(super) fn new(keyed: Keyed<'k>) -> Self {
        Canon { keyed, depth: 0, objects: 0, inside: [0; MAX_DEPTH], keys: [0; MAX_DEPTH] }
    }

    /// Whether a container is open, so that what comes next belongs to it.
    pub(super) fn is_open(&self) -> bool {
        self.depth > 0
    }

    pub(super) fn begin(&mut self, shape: Shape) {
        debug_assert!(self.depth < MAX_DEPTH, "both readers bound the depth");
        let bit = 1 << self.depth;
        match shape {
            Shape::Object => self.objects |= bit,
            Shape::Array => self.objects &= !bit,
        }
        self.inside[self.depth] = 0;
        self.depth += 1;
    }

    pub(super) fn key(&mut self, digest: u64) {
        self.keys[self.depth - 1] = digest;
    }

    /// Adds the digest of a complete value to the innermost container; gives it back if none is
    /// open, because it is then the whole value.
    pub(super) fn add(&mut self, value: u64) -> Option<u64> {
        let Some(level) = self.depth.checked_sub(1) else { return Some(value) };
        let inside = self.inside[level];
        self.inside[level] = if self.objects >> level & 1 == 1 {
            inside.wrapping_add(self.keyed.pair(Domain::Entry, self.keys[level], value))
        } else {
            self.keyed.pair(Domain::Element, inside, value)
        };
        None
    }

    /// Closes the innermost container; gives the digest of the whole value if it was the outermost.
    pub(super) fn end(&mut self) -> Option<u64> {
        let level = self.depth.checked_sub(1)?;
        let is_object = self.objects >> level & 1 == 1;
        let shape = if is_object { Shape::Object } else { Shape::Array };
        self.depth = level;
        self.add(self.keyed.container(shape, self.inside[level]))
    }
}
