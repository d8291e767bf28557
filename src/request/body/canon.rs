//! Digest of one JSON value of any shape, independent of key order and white space.
//!
//! A key that occurs twice in an object counts twice.

use super::MAX_DEPTH;
use super::events::Shape;
use super::keyed::{Domain, Keyed};
use super::nest::Nest;

/// The containers that are open inside the value.
pub(super) struct Canon<'k> {
    keyed: Keyed<'k>,
    nest: Nest,
    /// Per level: the sum over the object's entries, or the chain over the array's elements.
    inside: [u64; MAX_DEPTH],
    /// Per level: digest of the object's current key.
    keys: [u64; MAX_DEPTH],
}

impl<'k> Canon<'k> {
    pub(super) fn new(keyed: Keyed<'k>) -> Self {
        Canon { keyed, nest: Nest::new(), inside: [0; MAX_DEPTH], keys: [0; MAX_DEPTH] }
    }

    /// Whether a container is open, so that what comes next belongs to it.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.nest.depth() > 0
    }

    /// Opens a container. Both readers bound the depth, so there is room for it.
    pub(super) fn begin(&mut self, shape: Shape) {
        let level = self.nest.depth();
        if self.nest.open(shape) {
            self.inside[level] = 0;
        }
    }

    /// Takes the digest of the innermost object's next key.
    pub(super) fn key(&mut self, digest: u64) {
        self.keys[self.nest.depth() - 1] = digest;
    }

    /// Adds the digest of a complete value to the innermost container; gives it back if none is
    /// open, because it is then the whole value.
    pub(super) fn add(&mut self, value: u64) -> Option<u64> {
        let Some(shape) = self.nest.innermost() else { return Some(value) };
        let level = self.nest.depth() - 1;
        let inside = self.inside[level];
        self.inside[level] = match shape {
            Shape::Object => {
                inside.wrapping_add(self.keyed.pair(Domain::Entry, self.keys[level], value))
            }
            Shape::Array => self.keyed.pair(Domain::Element, inside, value),
        };
        None
    }

    /// Closes the innermost container; gives the digest of the whole value if it was the outermost.
    pub(super) fn end(&mut self) -> Option<u64> {
        let shape = self.nest.innermost()?;
        self.nest.close();
        self.add(self.keyed.container(shape, self.inside[self.nest.depth()]))
    }
}
