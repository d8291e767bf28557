//! A string that is digested: short ones are held until they end, so that they can be compared.

use super::events::{MAX_SHORT, MIN_ROOM};
use super::keyed::{self, Domain, Keyed, SHORT};
use crate::prefix::Digest;

/// Bytes that a digest takes at once without a copy.
const STEP: usize = 256;

/// Longest string that is certainly held whole; every known name is shorter.
const HELD: usize = STEP;

/// A key or a digested string under way.
pub(super) struct Small<'k> {
    domain: Domain,
    /// Bytes of the string so far.
    length: usize,
    /// Bytes in the buffer.
    filled: usize,
    bytes: [u8; STEP + HELD],
    /// The digest of what has left the buffer.
    digest: Option<Digest<'k>>,
}

impl<'k> Small<'k> {
    pub(super) const fn new(domain: Domain) -> Self {
        Small { domain, length: 0, filled: 0, bytes: [0; STEP + HELD], digest: None }
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
        self.filled = 0;
        self.digest = None;
    }

    #[inline]
    pub(super) fn room(&mut self, keyed: Keyed<'k>) -> &mut [u8] {
        if self.bytes.len() - self.filled < MIN_ROOM {
            self.spill(keyed);
        }
        &mut self.bytes[self.filled..]
    }

    #[inline]
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.length += bytes;
        self.filled += bytes;
    }

    /// Takes the whole string at once: the first `length` bytes of `block`.
    #[inline]
    pub(super) fn set(&mut self, block: &[u8; MAX_SHORT], length: usize) {
        self.bytes[..MAX_SHORT].copy_from_slice(block);
        self.length = length;
        self.filled = length;
    }

    #[cold]
    fn spill(&mut self, keyed: Keyed<'k>) {
        let digest = self.digest.get_or_insert_with(|| keyed.stream(self.domain));
        digest.push(&self.bytes[..STEP]);
        self.bytes.copy_within(STEP..self.filled, 0);
        self.filled -= STEP;
    }

    pub(super) fn length(&self) -> u64 {
        self.length as u64
    }

    /// The whole string, or nothing if it is too long to be one of the known ones.
    #[inline]
    pub(super) fn held(&self) -> &[u8] {
        if self.length <= HELD { &self.bytes[..self.filled] } else { &[] }
    }

    pub(super) fn digest(&mut self, keyed: Keyed<'k>) -> u64 {
        if self.length <= SHORT {
            let padded = self.length.next_multiple_of(16);
            self.pad();
            return keyed.block(self.domain, self.length(), &self.bytes[..padded]);
        }
        let mut digest = self.digest.take().unwrap_or_else(|| keyed.stream(self.domain));
        digest.push(&self.bytes[..self.filled]);
        keyed::end(digest)
    }

    /// Puts zeros behind a string that is held, where an earlier one may have left bytes.
    #[inline]
    fn pad(&mut self) {
        self.bytes[self.filled..][..16].fill(0);
    }

    /// Digest of a field by its name and its value in one step, if both have at most 16 bytes.
    #[inline]
    pub(super) fn short_field(name: &mut Self, value: &mut Self, keyed: Keyed<'k>) -> Option<u64> {
        if name.length > 16 || value.length > 16 {
            return None;
        }
        name.pad();
        value.pad();
        let mut block = [0; 32];
        block[..16].copy_from_slice(&name.bytes[..16]);
        block[16..].copy_from_slice(&value.bytes[..16]);
        Some(keyed.block(Domain::Field, value.length() << 8 | name.length(), &block))
    }
}
