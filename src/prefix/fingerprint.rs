//! A prompt as chained block hashes, and its wire form.
//!
//! The wire form is the 32-byte header followed by 8 bytes per block, all little-endian:
//!
//! ```text
//!  0        1      2             4        8            16       24       28         32
//!  +--------+------+-------------+--------+------------+--------+--------+----------+-------
//!  |version | unit | block_bytes | key_id | namespace  | total  | blocks | turn     | hashes
//!  +--------+------+-------------+--------+------------+--------+--------+----------+-------
//! ```

use super::hash::HashKey;

/// The fingerprint format that this version reads and writes.
pub const FORMAT_VERSION: u8 = 2;

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
    /// More blocks than the total length can hold, or a turn of more than 31 bits.
    #[error("fingerprint header contradicts itself")]
    Inconsistent,
    /// The buffer cannot hold the encoded fingerprint.
    #[error("encoding needs {needed} bytes")]
    BufferTooSmall {
        /// Bytes needed.
        needed: usize,
    },
}

/// What a fingerprint says about itself: the fields of one [`FORMAT_VERSION`], all of which a program
/// that makes fingerprints writes out. Another format will have another type.
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
    /// Whether the user speaks after an agent's loop, and what engines hold then: a
    /// [`UserTurn`](crate::body::UserTurn) in 31 bits; 0 says that it is not known.
    pub turn: u32,
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
        bytes[28..32].copy_from_slice(&self.turn.to_le_bytes());
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
        let header = FingerprintHeader {
            version: bytes[0],
            unit,
            block_bytes: little_endian(&bytes[2..4]) as u16,
            key_id: little_endian(&bytes[4..8]) as u32,
            namespace: little_endian(&bytes[8..16]),
            total: little_endian(&bytes[16..24]),
            blocks: little_endian(&bytes[24..28]) as u32,
            turn: little_endian(&bytes[28..32]) as u32,
        };
        header.validate()?;
        Ok(header)
    }

    fn validate(&self) -> Result<(), FingerprintError> {
        if self.version != FORMAT_VERSION {
            return Err(FingerprintError::Version { found: self.version });
        }
        let size = BlockSize::new(usize::from(self.block_bytes))?;
        let too_many = u64::from(self.blocks) > self.total / size.units(self.unit) as u64;
        if too_many || self.turn >> 31 != 0 {
            return Err(FingerprintError::Inconsistent);
        }
        Ok(())
    }
}

/// A prompt's header and the hashes of its leading blocks, borrowed from the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint<'a> {
    pub(super) header: FingerprintHeader,
    pub(super) blocks: &'a [u64],
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

    /// Writes the wire form to the front of `out` and returns how many bytes it takes.
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

    /// The same, with what its body says about its turn.
    pub(crate) fn with_turn(self, turn: u32) -> Self {
        Fingerprint { header: FingerprintHeader { turn, ..self.header }, ..self }
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

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |acc, &byte| acc << 8 | u64::from(byte))
}
