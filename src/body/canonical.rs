//! Digest of one JSON value of any container, independent of key order and white space.
//!
//! A key that occurs twice in an object counts twice.

use super::digest::{Digester, Domain};
use crate::json::{Container, MAX_DEPTH, Nest};

/// The containers that are open inside the value.
pub(super) struct CanonicalDigest<'k> {
    digester: Digester<'k>,
    nest: Nest,
    /// Per level: the sum over the object's entries, or the chain over the array's elements.
    inside: [u64; MAX_DEPTH],
    /// Per level: digest of the object's current key.
    keys: [u64; MAX_DEPTH],
}

impl<'k> CanonicalDigest<'k> {
    pub(super) fn new(digester: Digester<'k>) -> Self {
        CanonicalDigest {
            digester,
            nest: Nest::new(),
            inside: [0; MAX_DEPTH],
            keys: [0; MAX_DEPTH],
        }
    }

    /// Whether a container is open, so that what comes next belongs to it.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.nest.depth() > 0
    }

    /// Opens a container. Both readers bound the depth, so there is room for it.
    pub(super) fn begin(&mut self, container: Container) {
        let level = self.nest.depth();
        if self.nest.open(container) {
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
        let Some(container) = self.nest.innermost() else { return Some(value) };
        let level = self.nest.depth() - 1;
        let inside = self.inside[level];
        self.inside[level] = match container {
            Container::Object => {
                inside.wrapping_add(self.digester.pair(Domain::Entry, self.keys[level], value))
            }
            Container::Array => self.digester.pair(Domain::Element, inside, value),
        };
        None
    }

    /// Closes the innermost container; gives the digest of the whole value if it was the outermost.
    pub(super) fn end(&mut self) -> Option<u64> {
        let container = self.nest.innermost()?;
        self.nest.close();
        self.add(self.digester.container(container, self.inside[self.nest.depth()]))
    }
}
