//! A prompt as chained block hashes, and its wire form.
//!
//! The wire form is the 32-byte header followed by 8 bytes per block, all little-endian:
//!
//! ```text
//!  0        1      2             4        8            16       24       28         32
//!  +--------+------+-------------+--------+------------+--------+--------+----------+-------
//!  |version | unit | block_bytes | key_id | namespace  | total  | blocks | zero     | hashes
//!  +--------+------+-------------+--------+------------+--------+--------+----------+-------
//! ```

use super::hash::{HashKey, Path};

/// The fingerprint format that this version reads and writes.
pub const FORMAT_VERSION: u8 = 1;

/// Tells the digests of preamble blocks from others.
const PREAMBLE: u64 = 0x10;

/// What a prompt's length counts, and what a block is cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Bytes of text.
    Text,
    /// Tokens, hashed as four little-endian bytes each.
    Tokens,
}

impl Unit {
    /// Bytes per unit of length: 1 or 4.
    pub fn bytes(self) -> usize {
        match self {
            Unit::Text => 1,
            Unit::Tokens => 4,
        }
    }
}

/// The bytes that one block covers: 64 to 256, a multiple of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockSize(u16);

impl BlockSize {
    /// 128 bytes of text or 32 tokens.
    pub const DEFAULT: BlockSize = BlockSize(128);

    /// Checks a size in bytes.
    pub fn new(bytes: usize) -> Result<BlockSize, FingerprintError> {
        if (64..=256).contains(&bytes) && bytes % 16 == 0 {
            Ok(BlockSize(bytes as u16))
        } else {
            Err(FingerprintError::InvalidBlockSize { bytes })
        }
    }

    /// The size in bytes.
    pub fn bytes(self) -> usize {
        usize::from(self.0)
    }

    /// The size in `unit`s: bytes, or a quarter as many tokens.
    pub fn units(self, unit: Unit) -> usize {
        self.bytes() / unit.bytes()
    }
}

impl Default for BlockSize {
    fn default() -> BlockSize {
        BlockSize::DEFAULT
    }
}

/// Why a fingerprint cannot be used here. A wrong key or namespace is never a silent miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// Another format version.
    #[error("fingerprint format {found} is not format {FORMAT_VERSION}")]
    Version {
        /// The version in the header.
        found: u8,
    },
    /// Made with another hash key.
    #[error("fingerprint was made with key {found:08x}, this router has key {expected:08x}")]
    Key {
        /// The router's key id.
        expected: u32,
        /// The key id in the header.
        found: u32,
    },
    /// Made for another namespace.
    #[error("fingerprint belongs to another namespace than the request")]
    Namespace,
    /// Text where tokens are wanted, or the reverse, or an unknown unit.
    #[error("fingerprint has another unit (text or tokens) than the request")]
    Unit,
    /// Cut into blocks of another size than the router's.
    #[error("fingerprint has blocks of {found} bytes, this router cuts blocks of {expected}")]
    BlockSize {
        /// The router's block size in bytes.
        expected: u16,
        /// The block size in the header.
        found: u16,
    },
    /// A block size outside 64..=256 or not a multiple of 16.
    #[error("a block of {bytes} bytes is not a multiple of 16 from 64 to 256")]
    InvalidBlockSize {
        /// The refused size.
        bytes: usize,
    },
    /// Fewer bytes or hashes than the header announces.
    #[error("fingerprint is shorter than its header announces")]
    Truncated,
    /// More blocks than the total length can hold, or non-zero padding.
    #[error("fingerprint header contradicts itself")]
    Inconsistent,
    /// The buffer cannot hold the encoded fingerprint.
    #[error("encoding needs {needed} bytes")]
    BufferTooSmall {
        /// Bytes needed.
        needed: usize,
    },
}

/// What a fingerprint says about itself: the fields of one [`FORMAT_VERSION`], to be written out by
/// whoever makes fingerprints. Another format will have another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FingerprintHeader {
    /// Format version, [`FORMAT_VERSION`].
    pub version: u8,
    /// Text or tokens.
    pub unit: Unit,
    /// Bytes per block.
    pub block_bytes: u16,
    /// [`HashKey::id`] of the key.
    pub key_id: u32,
    /// The namespace's digest; 0 where there is none.
    pub namespace: u64,
    /// Length of the whole prompt in bytes or tokens, including what no block covers.
    pub total: u64,
    /// Number of block hashes that follow.
    pub blocks: u32,
}

impl FingerprintHeader {
    /// Length of the encoded header in bytes.
    pub const ENCODED_LEN: usize = 32;

    /// Writes the header in its wire form.
    pub fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let mut bytes = [0; Self::ENCODED_LEN];
        bytes[0] = self.version;
        bytes[1] = match self.unit {
            Unit::Text => 0,
            Unit::Tokens => 1,
        };
        bytes[2..4].copy_from_slice(&self.block_bytes.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.key_id.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.namespace.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.total.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.blocks.to_le_bytes());
        bytes
    }

    /// Reads a header and checks that it is consistent in itself.
    pub fn decode(bytes: &[u8]) -> Result<FingerprintHeader, FingerprintError> {
        let bytes: &[u8; Self::ENCODED_LEN] =
            bytes.first_chunk().ok_or(FingerprintError::Truncated)?;
        if bytes[0] != FORMAT_VERSION {
            return Err(FingerprintError::Version { found: bytes[0] });
        }
        let unit = match bytes[1] {
            0 => Unit::Text,
            1 => Unit::Tokens,
            _ => return Err(FingerprintError::Unit),
        };
        if little_endian(&bytes[28..32]) != 0 {
            return Err(FingerprintError::Inconsistent);
        }
        let header = FingerprintHeader {
            version: bytes[0],
            unit,
            block_bytes: little_endian(&bytes[2..4]) as u16,
            key_id: little_endian(&bytes[4..8]) as u32,
            namespace: little_endian(&bytes[8..16]),
            total: little_endian(&bytes[16..24]),
            blocks: little_endian(&bytes[24..28]) as u32,
        };
        header.validate()?;
        Ok(header)
    }

    fn validate(&self) -> Result<(), FingerprintError> {
        if self.version != FORMAT_VERSION {
            return Err(FingerprintError::Version { found: self.version });
        }
        let size = BlockSize::new(usize::from(self.block_bytes))?;
        if u64::from(self.blocks) > self.total / size.units(self.unit) as u64 {
            return Err(FingerprintError::Inconsistent);
        }
        Ok(())
    }
}

/// A prompt's header and the hashes of its leading blocks, borrowed from the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint<'a> {
    header: FingerprintHeader,
    blocks: &'a [u64],
}

impl<'a> Fingerprint<'a> {
    /// Joins a header and its hashes, as a host does that stored them apart.
    ///
    /// # Errors
    /// [`FingerprintError::Truncated`] where `blocks` is not as long as the header says, and
    /// what [`FingerprintHeader::decode`] refuses.
    pub fn from_parts(
        header: FingerprintHeader,
        blocks: &'a [u64],
    ) -> Result<Fingerprint<'a>, FingerprintError> {
        header.validate()?;
        if blocks.len() != header.blocks as usize {
            return Err(FingerprintError::Truncated);
        }
        Ok(Fingerprint { header, blocks })
    }

    /// Reads the wire form. Hashes that `buffer` has no room for are left out.
    pub fn decode(
        bytes: &[u8],
        buffer: &'a mut [u64],
    ) -> Result<Fingerprint<'a>, FingerprintError> {
        let mut header = FingerprintHeader::decode(bytes)?;
        let hashes = &bytes[FingerprintHeader::ENCODED_LEN..];
        if (hashes.len() / 8) < header.blocks as usize {
            return Err(FingerprintError::Truncated);
        }
        let kept = buffer.len().min(header.blocks as usize);
        for (hash, eight) in buffer[..kept].iter_mut().zip(hashes.chunks_exact(8)) {
            *hash = little_endian(eight);
        }
        header.blocks = kept as u32;
        Ok(Fingerprint { header, blocks: &buffer[..kept] })
    }

    /// Writes the wire form to the front of `out` and says how many bytes it takes.
    ///
    /// # Errors
    /// [`FingerprintError::BufferTooSmall`] where `out` is shorter than
    /// [`encoded_len`](Self::encoded_len); nothing is written then.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, FingerprintError> {
        let needed = self.encoded_len();
        let Some(out) = out.get_mut(..needed) else {
            return Err(FingerprintError::BufferTooSmall { needed });
        };
        let (head, hashes) = out.split_at_mut(FingerprintHeader::ENCODED_LEN);
        head.copy_from_slice(&self.header.encode());
        for (eight, hash) in hashes.chunks_exact_mut(8).zip(self.blocks) {
            eight.copy_from_slice(&hash.to_le_bytes());
        }
        Ok(needed)
    }

    /// Bytes of the wire form.
    pub fn encoded_len(&self) -> usize {
        FingerprintHeader::ENCODED_LEN + 8 * self.blocks.len()
    }

    /// Checks that this fingerprint can be compared with those of `key`, `size`, `namespace`.
    pub fn check(
        &self,
        key: &HashKey,
        size: BlockSize,
        namespace: u64,
    ) -> Result<(), FingerprintError> {
        let header = &self.header;
        if header.key_id != key.id() {
            return Err(FingerprintError::Key { expected: key.id(), found: header.key_id });
        }
        if header.block_bytes != size.0 {
            let (expected, found) = (size.0, header.block_bytes);
            return Err(FingerprintError::BlockSize { expected, found });
        }
        if header.namespace != namespace {
            return Err(FingerprintError::Namespace);
        }
        Ok(())
    }

    /// As [`check`](Self::check), and that lengths are counted in `unit`.
    pub fn check_unit(&self, unit: Unit) -> Result<(), FingerprintError> {
        if self.header.unit == unit { Ok(()) } else { Err(FingerprintError::Unit) }
    }

    /// The header.
    pub fn header(&self) -> &FingerprintHeader {
        &self.header
    }

    /// The hash of each leading block; each one identifies the path that ends there.
    pub fn blocks(&self) -> &'a [u64] {
        self.blocks
    }

    /// The same prompt in at most so many leading blocks.
    pub(crate) fn leading(&self, most: usize) -> Fingerprint<'a> {
        let blocks = &self.blocks[..most.min(self.blocks.len())];
        let header = FingerprintHeader { blocks: blocks.len() as u32, ..self.header };
        Fingerprint { header, blocks }
    }

    /// Length of the whole prompt in bytes or tokens.
    pub fn total(&self) -> u64 {
        self.header.total
    }
}

/// Hashes a prompt block by block as it streams past.
///
/// Every byte is read once; nothing is allocated. A last block that is not full counts in the
/// total and has no hash. Once the buffer is full the rest is counted and not hashed.
#[derive(Debug)]
pub struct Fingerprinter<'k, 'b> {
    key: &'k HashKey,
    unit: Unit,
    size: BlockSize,
    out: &'b mut [u64],
    blocks: usize,
    path: Path,
    pending: [u8; 256],
    filled: usize,
    bytes: u64,
}

impl<'k, 'b> Fingerprinter<'k, 'b> {
    /// Starts an empty prompt whose hashes go to `out`.
    pub fn new(key: &'k HashKey, unit: Unit, size: BlockSize, out: &'b mut [u64]) -> Self {
        Fingerprinter {
            key,
            unit,
            size,
            out,
            blocks: 0,
            path: Path::new(key),
            pending: [0; 256],
            filled: 0,
            bytes: 0,
        }
    }

    /// Absorbs prompt bytes; how the prompt is cut into calls makes no difference.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.filled > 0 {
            bytes = self.fill_pending(bytes);
        }
        if self.filled > 0 || self.is_full() {
            return;
        }
        let whole = self.hash_blocks(bytes);
        let rest = &bytes[whole..];
        if rest.len() < self.size.bytes() {
            self.pending[..rest.len()].copy_from_slice(rest);
            self.filled = rest.len();
        }
    }

    /// Counts so many more bytes and does not hash them, if the buffer is full, so that they would
    /// not be hashed either when pushed. Says whether it did.
    pub fn skip(&mut self, bytes: u64) -> bool {
        if self.is_full() {
            self.bytes += bytes;
        }
        self.is_full()
    }

    /// Absorbs tokens, the same as pushing four little-endian bytes for each.
    pub fn push_tokens(&mut self, mut tokens: &[u32]) {
        while self.filled > 0 {
            let Some((first, rest)) = tokens.split_first() else { return };
            self.push(&first.to_le_bytes());
            tokens = rest;
        }
        self.bytes += 4 * tokens.len() as u64;
        let whole = self.hash_tokens(tokens);
        if self.is_full() {
            return;
        }
        for token in &tokens[whole..] {
            self.pending[self.filled..self.filled + 4].copy_from_slice(&token.to_le_bytes());
            self.filled += 4;
        }
    }

    /// Ends the prompt. `namespace` and `shaping` are digests of what else decides whether two
    /// prompts share a cache entry (see [`Digest`](super::Digest)); 0 stands for none. They may
    /// become known last because they are XORed into the finished hashes.
    pub fn finish(self, namespace: u64, shaping: u64) -> Fingerprint<'b> {
        self.finish_behind(0, namespace, shaping)
    }

    /// As [`finish`](Self::finish), for a prompt that the engine renders behind `preamble` bytes
    /// made from what `shaping` digests, tool declarations for instance. Whole blocks of it go
    /// before the others, each told by the digests and its place, so that the preamble counts where
    /// it is shared and is not shared in part.
    pub fn finish_behind(self, preamble: u64, namespace: u64, shaping: u64) -> Fingerprint<'b> {
        let shape = u64::from(self.size.0) << 8 | self.unit as u64;
        let seed = self.key.seed(namespace, shaping, shape);
        let leading = preamble / self.size.bytes() as u64;
        let inserted = usize::try_from(leading).unwrap_or(usize::MAX).min(self.out.len());
        let kept = self.blocks.min(self.out.len() - inserted);
        self.out.copy_within(..kept, inserted);
        for (place, hash) in (0..).zip(&mut self.out[..inserted]) {
            let mut block = [0; 16];
            block[..8].copy_from_slice(&u64::to_le_bytes(place));
            block[8..].copy_from_slice(&seed.to_le_bytes());
            *hash = self.key.digest_block(PREAMBLE, &block);
        }
        for hash in &mut self.out[inserted..inserted + kept] {
            *hash ^= seed;
        }
        let header = FingerprintHeader {
            version: FORMAT_VERSION,
            unit: self.unit,
            block_bytes: self.size.0,
            key_id: self.key.id(),
            namespace,
            total: (self.bytes / self.unit.bytes() as u64)
                .saturating_add(leading.saturating_mul(self.size.units(self.unit) as u64)),
            blocks: (inserted + kept) as u32,
        };
        Fingerprint { header, blocks: &self.out[..inserted + kept] }
    }

    fn is_full(&self) -> bool {
        self.blocks == self.out.len()
    }

    /// Completes the block begun by an earlier call and returns what is left.
    fn fill_pending<'p>(&mut self, bytes: &'p [u8]) -> &'p [u8] {
        let size = self.size.bytes();
        let (head, rest) = bytes.split_at(bytes.len().min(size - self.filled));
        self.pending[self.filled..self.filled + head.len()].copy_from_slice(head);
        self.filled += head.len();
        if self.filled == size {
            self.filled = 0;
            let block = self.pending;
            self.hash_blocks(&block[..size]);
        }
        rest
    }

    /// Hashes the whole blocks of `bytes` and returns how many bytes they are.
    fn hash_blocks(&mut self, bytes: &[u8]) -> usize {
        let key = self.key;
        match self.size.bytes() {
            // A constant length lets the compiler unroll the usual cases.
            64 => self.extend(64, bytes.chunks_exact(64).map(|block| key.nh_bytes(block))),
            128 => self.extend(128, bytes.chunks_exact(128).map(|block| key.nh_bytes(block))),
            size => self.extend(size, bytes.chunks_exact(size).map(|block| key.nh_bytes(block))),
        }
    }

    /// Hashes the whole blocks of `tokens` and returns how many tokens they are.
    fn hash_tokens(&mut self, tokens: &[u32]) -> usize {
        let key = self.key;
        match self.size.bytes() / 4 {
            16 => self.extend(16, tokens.chunks_exact(16).map(|block| key.nh_tokens(block))),
            32 => self.extend(32, tokens.chunks_exact(32).map(|block| key.nh_tokens(block))),
            size => self.extend(size, tokens.chunks_exact(size).map(|block| key.nh_tokens(block))),
        }
    }

    #[inline(always)]
    fn extend(&mut self, size: usize, blocks: impl ExactSizeIterator<Item = u128>) -> usize {
        let done = self.path.extend(self.key, blocks, &mut self.out[self.blocks..]);
        self.blocks += done;
        done * size
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |acc, &byte| acc << 8 | u64::from(byte))
}
