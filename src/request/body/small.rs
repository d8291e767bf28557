//! A string that is digested: short ones are also held, so that they can be compared.

use super::keyed::{self, Domain, Keyed};
use crate::prefix::Digest;

/// Longest string that is held; every known name is shorter.
const HELD: usize = 48;

/// A key or a digested string under way.
pub(super) struct Small<'k> {
    domain: Domain,
    /// Bytes pushed, held or not.
    length: u64,
    held: usize,
    bytes: [u8; HELD],
    /// The digest, from the moment on that the string is too long to be held.
    rest: Option<Digest<'k>>,
}

impl<'k> Small<'k> {
    pub(super) const fn new(domain: Domain) -> Self {
        Small { domain, length: 0, held: 0, bytes: [0; HELD], rest: None }
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
        self.held = 0;
        self.rest = None;
    }

    pub(super) fn push(&mut self, keyed: Keyed<'k>, piece: &[u8]) {
        self.length += piece.len() as u64;
        if let Some(digest) = &mut self.rest {
            digest.push(piece);
        } else if let Some(free) = self.bytes.get_mut(self.held..self.held + piece.len()) {
            free.copy_from_slice(piece);
            self.held += piece.len();
        } else {
            let mut digest = keyed.stream(self.domain);
            digest.push(&self.bytes[..self.held]);
            digest.push(piece);
            self.rest = Some(digest);
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The whole string, or nothing if it is too long to be one of the known ones.
    pub(super) fn held(&self) -> &[u8] {
        if self.rest.is_some() { &[] } else { &self.bytes[..self.held] }
    }

    pub(super) fn digest(&mut self, keyed: Keyed<'k>) -> u64 {
        match self.rest.take() {
            Some(digest) => keyed::end(digest),
            None => keyed.bytes(self.domain, &self.bytes[..self.held]),
        }
    }
}
