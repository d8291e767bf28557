//! Keyed 64-bit digests of names, strings and values, and their combinations.
//!
//! An object's digest is a wrapping sum over its entries, so key order cannot matter; an array's is
//! a chain, so element order does. A sum keeps an entry that is given twice, where an exclusive or
//! would lose it. [`Digest`] is universal but nearly additive, and sums of additive terms could be
//! made to agree without knowing the key; so each term is scrambled, which is not additive.

use crate::json::{Container, Literal, Number};
use crate::prefix::{Digest, HashKey};

/// What a digest is of; a value of one kind never equals one of another.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Domain {
    Name = 0x20,
    Text = 0x21,
    Entry = 0x22,
    Element = 0x23,
    Scalar = 0x24,
    Object = 0x25,
    Array = 0x26,
    Seed = 0x27,
    Namespace = 0x28,
    Field = 0x29,
}

/// Longest string that is digested in one step.
pub(super) const SHORT: usize = 240;

/// Digests under one key.
#[derive(Clone, Copy)]
pub(super) struct Digester<'k>(pub(super) &'k HashKey);

impl<'k> Digester<'k> {
    pub(super) fn stream(self, domain: Domain) -> Digest<'k> {
        Digest::new(self.0, domain as u8)
    }

    /// Digest of a block of at most [`SHORT`] bytes, padded with zeros to a multiple of 16, of which
    /// `length` says how they are meant.
    #[inline]
    pub(super) fn block(self, domain: Domain, length: u64, block: &[u8]) -> u64 {
        scramble(self.0.digest_block(length << 8 | domain as u64, block))
    }

    pub(super) fn pair(self, domain: Domain, first: u64, second: u64) -> u64 {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&first.to_le_bytes());
        block[8..].copy_from_slice(&second.to_le_bytes());
        self.block(domain, 0, &block)
    }

    pub(super) fn number(self, number: Number) -> u64 {
        match number {
            Number::Unsigned(value) => self.pair(Domain::Scalar, 1, value),
            Number::Negative(value) => self.pair(Domain::Scalar, 2, value as u64),
            Number::Float(value) => self.pair(Domain::Scalar, 3, value.to_bits()),
        }
    }

    pub(super) fn literal(self, literal: Literal) -> u64 {
        self.pair(Domain::Scalar, 0, literal as u64)
    }

    /// Digest of a container from the sum or the chain over what is in it.
    pub(super) fn container(self, container: Container, inside: u64) -> u64 {
        let domain = match container {
            Container::Object => Domain::Object,
            Container::Array => Domain::Array,
        };
        self.pair(domain, inside, 0)
    }
}

/// The scrambled value of a digest.
pub(super) fn end(digest: Digest<'_>) -> u64 {
    scramble(digest.finish())
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, 2014): a bijection, so it adds no collision.
#[inline]
fn scramble(mut value: u64) -> u64 {
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
