//! A string that is digested: short ones are held until they end, so that they can be compared.

use super::digest::{self, Digester, Domain, SHORT};
use crate::json::{MAX_SHORT, MIN_ROOM};
use crate::prefix::Digest;

/// Bytes that a digest takes at once without a copy.
const STEP: usize = 256;

/// Longest string that is certainly held whole; every known name is shorter.
const HELD: usize = STEP;

/// Length of a string that fits a register.
const TINY: usize = 16;

/// A key or a digested string under way.
pub(super) struct StringBuffer<'k> {
    domain: Domain,
    /// Bytes of the string so far.
    length: usize,
    /// Bytes in the buffer.
    filled: usize,
    bytes: [u8; STEP + HELD],
    /// The digest of what has left the buffer.
    digest: Option<Digest<'k>>,
}

impl<'k> StringBuffer<'k> {
    pub(super) const fn new(domain: Domain) -> Self {
        StringBuffer { domain, length: 0, filled: 0, bytes: [0; STEP + HELD], digest: None }
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
        self.filled = 0;
        self.digest = None;
    }

    #[inline]
    pub(super) fn room(&mut self, digester: Digester<'k>) -> &mut [u8] {
        if self.bytes.len() - self.filled < MIN_ROOM {
            self.spill(digester, STEP);
        }
        &mut self.bytes[self.filled..]
    }

    #[inline]
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.length += bytes;
        self.filled += bytes;
    }

    /// Takes a piece that lies elsewhere.
    pub(super) fn write(&mut self, digester: Digester<'k>, mut piece: &[u8]) {
        if piece.len() > HELD {
            self.spill(digester, self.filled).push(piece);
            self.length += piece.len();
            return;
        }
        while !piece.is_empty() {
            let room = self.room(digester);
            let (now, rest) = piece.split_at(piece.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.wrote(now.len());
            piece = rest;
        }
    }

    /// Takes the whole string at once: the first `length` bytes of `block`.
    #[inline]
    pub(super) fn set(&mut self, block: &[u8; MAX_SHORT], length: usize) {
        self.bytes[..MAX_SHORT].copy_from_slice(block);
        self.length = length;
        self.filled = length;
    }

    #[cold]
    fn spill(&mut self, digester: Digester<'k>, bytes: usize) -> &mut Digest<'k> {
        let digest = self.digest.get_or_insert_with(|| digester.stream(self.domain));
        digest.push(&self.bytes[..bytes]);
        self.bytes.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
        digest
    }

    pub(super) fn length(&self) -> u64 {
        self.length as u64
    }

    /// The whole string, or nothing if it is too long to be one of the known ones.
    #[inline]
    pub(super) fn held(&self) -> &[u8] {
        if self.length <= HELD { &self.bytes[..self.filled] } else { &[] }
    }

    pub(super) fn digest(&mut self, digester: Digester<'k>) -> u64 {
        if let Some(block) = self.tiny() {
            return digester.block(self.domain, self.length(), &block);
        }
        if self.length <= SHORT {
            self.bytes[self.filled..][..16].fill(0);
            let padded = &self.bytes[..self.length.next_multiple_of(16)];
            return digester.block(self.domain, self.length(), padded);
        }
        let mut digest = self.digest.take().unwrap_or_else(|| digester.stream(self.domain));
        digest.push(&self.bytes[..self.filled]);
        digest::end(digest)
    }

    /// A string of at most 16 bytes, with zeros after it.
    #[inline]
    fn tiny(&self) -> Option<[u8; TINY]> {
        if self.length > TINY {
            return None;
        }
        let block = self.bytes.first_chunk::<TINY>()?;
        // What follows the string is left from an earlier one. In a register, because the bytes
        // were stored just now in other pieces than they would be loaded in.
        let unused = 8 * (TINY - self.length) as u32;
        let kept = u128::MAX.checked_shr(unused).unwrap_or(0);
        Some((u128::from_le_bytes(*block) & kept).to_le_bytes())
    }

    /// Digest of a field by its name and its value in one step, if both are tiny.
    #[inline]
    pub(super) fn tiny_field(name: &Self, value: &Self, digester: Digester<'k>) -> Option<u64> {
        let mut block = [0; 2 * TINY];
        block[..TINY].copy_from_slice(&name.tiny()?);
        block[TINY..].copy_from_slice(&value.tiny()?);
        Some(digester.block(Domain::Field, value.length() << 8 | name.length(), &block))
    }
}
