//! Keyed hashing of blocks, chained so that one 64-bit value names a whole path of blocks.
//!
//! Three published constructions, each with a proof that needs no assumption on the input:
//!
//! 1. **NH** (Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC", 1999) folds one block to 128
//!    bits: the sum of `(m[2i] + k[2i]) * (m[2i+1] + k[2i+1])` over its 64-bit little-endian
//!    words. One multiplication per 16 bytes, so scalar code runs near memory speed and every
//!    platform computes the same value without SIMD.
//! 2. **Multilinear hashing** (Lemire and Kaser, 2014) turns the blocks of one segment of 32
//!    into 64 bits each: `sum` grows by `a[i] * low(nh) + b[i] * high(nh)` modulo 2^128 with
//!    fresh 128-bit keys per position, and the hash of the path that ends here is the upper half
//!    of `base + sum`. A prefix sum, so every block costs the same and depends on all before it.
//! 3. **A polynomial** modulo 2^127 - 1 (as in VHASH, Krovetz and Dai, 2007) carries a path from
//!    segment to segment: `p = p * K + upper half of (k + sum)`, and `base = k0 + ka * low(p) +
//!    kb * high(p)` starts the next one.
//!
//! Two different paths, chosen without knowledge of the key, get the same hash with probability
//! at most 2^-64 (NH) + 2^-64 (segment digest) + n * 2^-125 (polynomial over `n` blocks, 120 free
//! key bits) + 2^-64 (the hash itself), together below 2^-62; where one path is longer, an NH
//! value of 0 is possible too, which stays within that bound. A lookup that compares 14
//! candidates therefore claims a match that was never inserted with probability below 2^-58.
//!
//! The bound does not cover a client that learns hash values or, by timing many requests, single
//! collisions, and chooses its next input from them. The key must stay secret for that reason.

use rand::TryRng;

use super::chacha;

/// Longest block in 64-bit words.
const MAX_WORDS: usize = 32;
/// Blocks per segment, each position with multilinear keys of its own.
const SEGMENT: usize = 32;
/// Bytes that one [`Digest`] step absorbs.
const DIGEST_BLOCK: usize = 256;
const M127: u128 = (1 << 127) - 1;
const M126: u128 = (1 << 126) - 1;

/// The secret of a router's hashes, stretched from 32 bytes by ChaCha20.
///
/// Routers that share fingerprints or must agree on the rendezvous worker share the bytes.
#[derive(Clone)]
pub struct HashKey {
    nh: [u64; MAX_WORDS],
    chain: [u64; 2],
    /// What the seeds of prompts without a namespace and without shaping begin with.
    plain: Chain,
    base: Multilinear,
    carry: u128,
    positions: [[u128; 2]; SEGMENT],
    digest: Multilinear,
    seed: Multilinear,
    id: u32,
}

impl HashKey {
    /// A key from the operating system's entropy.
    pub fn random() -> HashKey {
        let mut bytes = [0; 32];
        if rand::rngs::SysRng.try_fill_bytes(&mut bytes).is_err() {
            // The standard library keeps entropy of its own, taken at process start.
            fill_from_hasher(&mut bytes);
        }
        HashKey::from_bytes(bytes)
    }

    /// The key that these bytes stand for; the same on every platform and in every version
    /// with the same fingerprint format.
    pub fn from_bytes(bytes: [u8; 32]) -> HashKey {
        let mut stream = KeyStream { key: bytes, counter: 0, block: [0; 16], used: 16 };
        let id = stream.word() as u32;
        // Sixty bits in each half keep every sum of the polynomial step below 2^128.
        let chain = [stream.word() >> 4, stream.word() >> 4];
        let mut key = HashKey {
            id,
            chain,
            plain: Chain::START,
            base: Multilinear::from_stream(&mut stream),
            carry: stream.wide(),
            digest: Multilinear::from_stream(&mut stream),
            seed: Multilinear::from_stream(&mut stream),
            nh: std::array::from_fn(|_| stream.word()),
            positions: std::array::from_fn(|_| [stream.wide(), stream.wide()]),
        };
        key.plain = Chain::START.step(&key, 0).step(&key, 0);
        key
    }

    /// A public check value: equal for equal keys, and of no help in guessing the key.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The NH value of one block of `block.len()` bytes, a multiple of 16.
    #[inline(always)]
    pub(super) fn nh_bytes(&self, block: &[u8]) -> u128 {
        let mut sum = 0u128;
        for (pair, key) in block.chunks_exact(16).zip(self.nh.chunks_exact(2)) {
            let (first, second) = pair.split_at(8);
            sum = sum.wrapping_add(wide(
                word(first).wrapping_add(key[0]),
                word(second).wrapping_add(key[1]),
            ));
        }
        sum
    }

    /// The NH value of one block of tokens, a multiple of 4.
    #[inline(always)]
    pub(super) fn nh_tokens(&self, block: &[u32]) -> u128 {
        let mut sum = 0u128;
        for (four, key) in block.chunks_exact(4).zip(self.nh.chunks_exact(2)) {
            let first = u64::from(four[0]) | u64::from(four[1]) << 32;
            let second = u64::from(four[2]) | u64::from(four[3]) << 32;
            sum = sum.wrapping_add(wide(first.wrapping_add(key[0]), second.wrapping_add(key[1])));
        }
        sum
    }

    /// The value XORed into every block hash of one namespace and prompt shape.
    pub(super) fn seed(&self, namespace: u64, shaping: u64, shape: u64) -> u64 {
        let chain = if namespace | shaping == 0 {
            self.plain
        } else {
            Chain::START.step(self, namespace.into()).step(self, shaping.into())
        };
        self.seed.of(chain.step(self, shape.into()).0)
    }

    /// A keyed 64-bit digest of one block of at most 240 bytes, a multiple of 16, and a tag,
    /// without the buffer of a [`Digest`]: NH, then the multilinear step. Where the tag tells blocks
    /// of different lengths apart, two different inputs collide with probability at most 2^-63.
    #[inline]
    pub(crate) fn digest_block(&self, tag: u64, block: &[u8]) -> u64 {
        debug_assert!(block.len() % 16 == 0 && block.len() <= 8 * (MAX_WORDS - 2));
        let [.., first, second] = &self.nh;
        let tagged = wide(tag.wrapping_add(*first), *second);
        self.digest.of(self.nh_bytes(block).wrapping_add(tagged))
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The path of blocks so far.
#[derive(Clone, Debug)]
pub(super) struct Path {
    base: u128,
    /// `base` and what the blocks of this segment add to it.
    sum: u128,
    segments: Chain,
    position: usize,
}

impl Path {
    pub(super) fn new(key: &HashKey) -> Path {
        let base = key.base.wide(Chain::START.0);
        Path { base, sum: base, segments: Chain::START, position: 0 }
    }

    /// Extends the path by the blocks of `size` items that `items` begins with, as long as `out` has
    /// room, and says how many that were. `nh` is [`HashKey::nh_bytes`] or [`HashKey::nh_tokens`].
    #[inline(always)]
    pub(super) fn extend<T>(
        &mut self,
        key: &HashKey,
        items: &[T],
        size: usize,
        nh: impl Fn(&[T]) -> u128,
        out: &mut [u64],
    ) -> usize {
        let count = (items.len() / size).min(out.len());
        let (mut items, mut out) = (&items[..count * size], &mut out[..count]);
        while !out.is_empty() {
            let run = out.len().min(SEGMENT - self.position);
            let (now, later) = out.split_at_mut(run);
            let (blocks, rest) = items.split_at(run * size);
            let mut sum = self.sum;
            let keys = &key.positions[self.position..];
            for ((hash, block), [a, b]) in now.iter_mut().zip(blocks.chunks_exact(size)).zip(keys) {
                let nh = nh(block);
                sum = sum.wrapping_add(a.wrapping_mul(u128::from(nh as u64)));
                sum = sum.wrapping_add(b.wrapping_mul(nh >> 64));
                *hash = (sum >> 64) as u64;
            }
            self.sum = sum;
            self.position += run;
            if self.position == SEGMENT {
                self.next_segment(key);
            }
            (items, out) = (rest, later);
        }
        count
    }

    #[inline(always)]
    fn next_segment(&mut self, key: &HashKey) {
        let digest = key.carry.wrapping_add(self.sum.wrapping_sub(self.base)) >> 64;
        self.segments = self.segments.step(key, digest);
        self.base = key.base.wide(self.segments.0);
        self.sum = self.base;
        self.position = 0;
    }
}

/// A polynomial in the key, modulo 2^127 - 1.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Chain(u128);

impl Chain {
    /// The leading coefficient: sequences of different lengths are different polynomials.
    const START: Chain = Chain(1);

    /// `self * K + coefficient` modulo 2^127 - 1, not fully reduced: at most 2^127.
    ///
    /// With K's halves below 2^60 and the coefficient below 2^126 the sum of all parts is below
    /// 2^124 + 2^124 + 2^65 + 2^127 + 2^126 < 2^128. Equal inputs take equal steps, so the
    /// missing last reduction never tells equal paths apart.
    #[inline(always)]
    fn step(self, key: &HashKey, coefficient: u128) -> Chain {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        let [k_low, k_high] = key.chain;
        let bottom = wide(low, k_low);
        let middle = wide(low, k_high) + wide(high, k_low);
        let top = wide(high, k_high);
        // 2^128 = 2 and 2^127 = 1 modulo 2^127 - 1.
        let middle_low = (middle & ((1 << 63) - 1)) << 64;
        let sum = bottom + 2 * top + (middle >> 63) + middle_low + coefficient;
        Chain((sum & M127) + (sum >> 127))
    }
}

/// A streaming keyed 64-bit digest of bytes of any length.
///
/// Digests of different domains are unrelated even for equal bytes. Two different inputs, chosen
/// without knowledge of the key, collide with probability below 2^-61.
#[derive(Clone, Debug)]
pub struct Digest<'k> {
    key: &'k HashKey,
    chain: Chain,
    pending: [u8; DIGEST_BLOCK],
    filled: usize,
    length: u64,
}

impl<'k> Digest<'k> {
    /// An empty digest in `domain`.
    pub fn new(key: &'k HashKey, domain: u8) -> Digest<'k> {
        let chain = Chain(u128::from(domain) + 2);
        Digest { key, chain, pending: [0; DIGEST_BLOCK], filled: 0, length: 0 }
    }

    /// Absorbs `bytes`; how the input is cut into calls makes no difference.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.filled > 0 {
            let taken = bytes.len().min(DIGEST_BLOCK - self.filled);
            let (head, rest) = bytes.split_at(taken);
            self.pending[self.filled..self.filled + taken].copy_from_slice(head);
            self.filled += taken;
            bytes = rest;
            if self.filled < DIGEST_BLOCK {
                return;
            }
            self.chain = self.chain.step(self.key, self.key.nh_bytes(&self.pending) & M126);
            self.filled = 0;
        }
        let blocks = bytes.chunks_exact(DIGEST_BLOCK);
        let rest = blocks.remainder();
        for block in blocks {
            self.chain = self.chain.step(self.key, self.key.nh_bytes(block) & M126);
        }
        self.pending[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    /// Absorbs a length-prefixed field, so that neighbouring fields cannot run into each other.
    pub fn push_field(&mut self, bytes: &[u8]) {
        self.push(&(bytes.len() as u64).to_le_bytes());
        self.push(bytes);
    }

    /// The digest of everything pushed.
    pub fn finish(mut self) -> u64 {
        if self.filled > 0 {
            let padded = self.filled.next_multiple_of(16);
            self.pending[self.filled..padded].fill(0);
            let nh = self.key.nh_bytes(&self.pending[..padded]);
            self.chain = self.chain.step(self.key, nh & M126);
        }
        self.key.digest.of(self.chain.step(self.key, u128::from(self.length)).0)
    }
}

/// `(k0 + k1 * low + k2 * high) mod 2^128`, upper half: strongly universal in 128 bits of input.
#[derive(Clone)]
struct Multilinear([u128; 3]);

impl Multilinear {
    fn from_stream(stream: &mut KeyStream) -> Multilinear {
        Multilinear(std::array::from_fn(|_| stream.wide()))
    }

    fn of(&self, value: u128) -> u64 {
        (self.wide(value) >> 64) as u64
    }

    fn wide(&self, value: u128) -> u128 {
        let [k0, k1, k2] = self.0;
        let low = k1.wrapping_mul(u128::from(value as u64));
        let high = k2.wrapping_mul(value >> 64);
        k0.wrapping_add(low).wrapping_add(high)
    }
}

#[inline(always)]
fn word(eight: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(eight);
    u64::from_le_bytes(bytes)
}

#[inline(always)]
fn wide(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

struct KeyStream {
    key: [u8; 32],
    counter: u32,
    block: [u32; 16],
    used: usize,
}

impl KeyStream {
    fn wide(&mut self) -> u128 {
        u128::from(self.word()) | u128::from(self.word()) << 64
    }

    fn word(&mut self) -> u64 {
        if self.used == 16 {
            self.block = chacha::block(&self.key, self.counter, b"pointsman v1");
            self.counter += 1;
            self.used = 0;
        }
        let word = u64::from(self.block[self.used]) | u64::from(self.block[self.used + 1]) << 32;
        self.used += 2;
        word
    }
}

fn fill_from_hasher(bytes: &mut [u8; 32]) {
    use std::hash::{BuildHasher, RandomState};
    for eight in bytes.chunks_exact_mut(8) {
        eight.copy_from_slice(&RandomState::new().hash_one(0u8).to_le_bytes());
    }
}
