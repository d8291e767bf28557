//! A string that is digested: short ones are held until they end, so that they can be compared.

use super::events::MIN_ROOM;
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
            return keyed.short(self.domain, self.words(), self.length);
        }
        let mut digest = self.digest.take().unwrap_or_else(|| keyed.stream(self.domain));
        digest.push(&self.bytes[..self.filled]);
        keyed::end(digest)
    }

    /// A short string as words, with zeros behind it.
    #[inline]
    fn words(&self) -> [u64; 3] {
        let word = |start: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&self.bytes[start..start + 8]);
            // What lies behind the string is left from an earlier one.
            let unused = 8 - self.length.saturating_sub(start).min(8);
            u64::from_le_bytes(bytes) & u64::MAX.checked_shr(8 * unused as u32).unwrap_or(0)
        };
        [word(0), word(8), word(16)]
    }
}
