//! What a worker's stream of KV events consists of.

use super::values::{Hashes, Token, Tokens};

/// One thing that a worker's stream says, lent for the time of the call.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum KvEvent<'a> {
    /// Blocks are cached from now on.
    Stored(Stored<'a>),
    /// One copy of each of these blocks is cached no more.
    Removed(Removed<'a>),
    /// Nothing is cached any more by this rank.
    Cleared {
        /// The data-parallel rank.
        rank: u32,
    },
    /// Messages are missing: what the rank's stream said in them is unknown. Blocks that are held to be
    /// cached may have been removed, and chains may begin at blocks that were never heard of.
    Gap(Gap),
    /// The rank counts from the beginning again, so its engine is another process than before: nothing
    /// that it has said holds.
    Restarted {
        /// The data-parallel rank.
        rank: u32,
    },
}

/// Messages that never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The data-parallel rank.
    pub rank: u32,
    /// The first one's sequence: what a replay is to start from.
    pub from: u64,
    /// The sequence of the first message after them.
    pub to: u64,
}

/// What tells a worker's copies of a block apart: the engine counts those of one place, so each
/// [`Removed`] takes back one [`Stored`] of the same place and hash, and a hash stored twice is cached
/// until it has been removed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Place {
    /// The data-parallel rank.
    pub rank: u32,
    /// What the block lies in.
    pub medium: Medium,
    /// The cache group, of a model whose layers cache differently; 0 where there is one.
    pub group: u32,
    /// Whether the engine says that the block lies outside of the worker, which only can reach it.
    pub is_remote: bool,
}

/// What a block lies in, from fast to slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Medium {
    /// The accelerator's memory: engines' `GPU`, or where they name none.
    Device,
    /// The host's memory: `CPU`, `CPU_PINNED`.
    Host,
    /// `DISK`, `STORAGE`.
    Disk,
    /// A store that several workers share: `EXTERNAL`.
    Shared,
    /// A name that this library does not know, as a number made of it: equal names, equal numbers.
    Other(u32),
}

/// How the layers of a cache group attend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attention {
    /// The engine does not say. It has one group then, and its blocks describe prefixes.
    Unknown,
    /// To all tokens: blocks of such a group describe prefixes.
    Full,
    /// Otherwise: to so many of the last tokens, if the engine says how many. Such a group's blocks
    /// describe no prefix, but without them a prefix of the other groups is computed anew.
    Partial {
        /// How many tokens the window has, if it is one.
        window: Option<u32>,
    },
}

/// Blocks that are cached from now on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Stored<'a> {
    /// Where.
    pub place: Place,
    /// The hash of the block that the first one continues; `None` at the beginning of a prompt.
    pub parent: Option<u64>,
    /// The blocks. Of a partial group only those that are kept: fewer than the tokens make.
    pub hashes: Hashes<'a>,
    /// The tokens of the blocks, if the engine tells them.
    pub tokens: Tokens<'a>,
    /// Tokens, or pairs, in each block; 0 if unknown.
    pub block_size: u32,
    /// How the group's layers attend.
    pub attention: Attention,
    /// The number of the LoRA adapter, if there is one and the engine numbers them.
    pub lora_id: Option<i64>,
    /// Its name.
    pub lora_name: Option<&'a str>,
    /// What keeps this content apart from equal tokens of others, as told in a field of its own.
    pub cache_salt: Option<&'a str>,
    /// Whether more than the tokens makes the blocks what they are: an image, an adapter, a salt. The
    /// hashes show it, the tokens do not.
    pub has_extra_keys: bool,
    /// The conversation, where clients name it.
    pub session_id: Option<&'a str>,
}

impl<'a> Stored<'a> {
    /// Tokens that all the blocks hold together; 0 if the engine does not say how many each has.
    pub fn block_tokens(&self) -> u64 {
        self.hashes.len() as u64 * u64::from(self.block_size)
    }

    /// Whether each block's tokens are known: as many as blocks and block size make.
    pub fn has_tokens_of_blocks(&self) -> bool {
        !self.hashes.is_empty() && self.block_tokens() == self.tokens.len() as u64
    }

    /// Each block's hash and tokens, in order; nothing unless
    /// [`Stored::has_tokens_of_blocks`]. `tokens` is where the block's tokens are put.
    pub fn for_each_block(&self, tokens: &mut Vec<Token>, mut block: impl FnMut(u64, &[Token])) {
        if !self.has_tokens_of_blocks() {
            return;
        }
        let mut all = self.tokens.iter();
        for hash in self.hashes.iter() {
            tokens.clear();
            tokens.extend(all.by_ref().take(self.block_size as usize));
            block(hash, tokens);
        }
    }
}

/// Blocks of which one copy each is cached no more.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Removed<'a> {
    /// Where they were.
    pub place: Place,
    /// The blocks, the deepest of a chain first as a rule.
    pub hashes: Hashes<'a>,
}

impl Medium {
    /// From an engine's name for it, in upper or lower case.
    pub(super) fn from_name(name: &[u8]) -> Medium {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name {
            _ if is(b"GPU") => Medium::Device,
            _ if is(b"CPU") || is(b"CPU_PINNED") => Medium::Host,
            _ if is(b"DISK") || is(b"STORAGE") => Medium::Disk,
            _ if is(b"EXTERNAL") => Medium::Shared,
            // FNV-1a.
            _ => Medium::Other(name.iter().fold(0x811c_9dc5, |number, byte| {
                (number ^ u32::from(byte.to_ascii_uppercase())).wrapping_mul(0x0100_0193)
            })),
        }
    }
}
