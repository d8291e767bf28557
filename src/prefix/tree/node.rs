//! One node of the tree: how its words lie, and what its run says of itself.

use super::line::{Line, WORDS};
use crate::sync::Ordering;

/// Blocks per node.
pub(super) const RUN: usize = 8;
pub(super) const NODE_LINES: usize = 2;
/// Words of one node.
pub(super) const NODE_WORDS: usize = NODE_LINES * WORDS;
/// The run's length and shape; the hashes lie in words `0..RUN`.
pub(super) const META: usize = RUN;
/// The first holder record of a run.
pub(super) const RECORDS: usize = RUN + 1;

/// How many of a run's hashes agree with the beginning of `path`.
#[inline]
pub(super) fn agreeing(hashes: &Line, path: &[u64]) -> usize {
    let Some(path) = path.first_chunk::<RUN>() else {
        let pairs = hashes.0.iter().zip(path);
        return pairs.take_while(|(hash, block)| hash.load(Ordering::Relaxed) == **block).count();
    };
    // No branch per block: where a path leaves a run is hard to predict.
    let mut equal = 0;
    for (index, (hash, block)) in hashes.0.iter().zip(path).enumerate() {
        equal |= u32::from(hash.load(Ordering::Relaxed) == *block) << index;
    }
    equal.trailing_ones() as usize
}

/// `[nonce: 32 | groups with extra nodes: 28 | length: 4]` of a run.
#[derive(Clone, Copy)]
pub(super) struct Meta(pub(super) u64);

impl Meta {
    pub(super) fn new(nonce: u32, length: usize) -> Meta {
        Meta(u64::from(nonce) << 32 | length as u64)
    }

    pub(super) fn length(self) -> usize {
        ((self.0 & 0xf) as usize).min(RUN)
    }

    pub(super) fn with_length(self, length: usize) -> Meta {
        Meta(self.0 & !0xf | length as u64)
    }

    pub(super) fn nonce(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn has_group(self, group: usize) -> bool {
        self.0 >> (4 + group % 28) & 1 == 1
    }

    pub(super) fn with_group(self, group: usize) -> Meta {
        Meta(self.0 | 1 << (4 + group % 28))
    }

    pub(super) fn is_wide(self) -> bool {
        self.0 & 0xffff_fff0 != 0
    }
}
