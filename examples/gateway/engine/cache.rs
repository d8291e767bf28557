//! The engine's KV memory: a block pool with an LRU prefix cache over chained block hashes.
//!
//! Blocks of running sequences are pinned. Idle blocks are evicted least recently used first, the
//! tail of a prompt before its head, because a head without its tail still serves and a tail without
//! its head does not.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Bytes of text that count as one token. A stand-in for a tokenizer.
pub(crate) const BYTES_PER_TOKEN: usize = 4;

/// The hashes of every full block of `text`; each covers everything before it too.
pub(crate) fn block_hashes(seed: u64, text: &[u8], block_tokens: usize) -> Vec<u64> {
    let mut chain = seed;
    text.chunks_exact(block_tokens * BYTES_PER_TOKEN)
        .map(|block| {
            let mut hasher = DefaultHasher::new();
            (chain, block).hash(&mut hasher);
            chain = hasher.finish();
            chain
        })
        .collect()
}

struct Block {
    pins: u32,
    /// Key in `idle` while `pins` is 0.
    stamp: u64,
}

/// A pool of `capacity` blocks.
pub(crate) struct Cache {
    capacity: usize,
    blocks: HashMap<u64, Block>,
    idle: BTreeMap<u64, u64>,
    /// Blocks promised to running sequences, not yet filled.
    reserved: usize,
    clock: u64,
}

impl Cache {
    pub(crate) fn new(capacity: usize) -> Cache {
        Cache { capacity, blocks: HashMap::new(), idle: BTreeMap::new(), reserved: 0, clock: 0 }
    }

    /// Share of the pool that running sequences occupy, 0 to 1. Idle blocks count as free, as in vLLM.
    pub(crate) fn usage(&self) -> f64 {
        let used = self.reserved + self.blocks.len() - self.idle.len();
        used as f64 / self.capacity.max(1) as f64
    }

    /// True if a sequence of so many blocks can never be admitted.
    pub(crate) fn too_large(&self, blocks: usize) -> bool {
        blocks > self.capacity
    }

    /// Pins the leading blocks of `prompt` that are resident and reserves room for the rest of it and
    /// for `output` blocks. Returns how many were resident, or `None` (and changes nothing) when
    /// running sequences leave too little room.
    pub(crate) fn admit(&mut self, prompt: &[u64], output: usize) -> Option<usize> {
        let hits = prompt.iter().take_while(|hash| self.blocks.contains_key(hash)).count();
        let needed = prompt.len() - hits + output;
        let hits_idle = prompt[..hits].iter().filter(|hash| self.is_idle(hash)).count();
        let free = self.capacity - self.reserved - self.blocks.len();
        if needed > free + self.idle.len() - hits_idle {
            return None;
        }
        prompt[..hits].iter().for_each(|&hash| self.pin(hash));
        for _ in free..needed {
            self.evict_one();
        }
        self.reserved += needed;
        Some(hits)
    }

    /// Fills `hashes` from the caller's reservation of `reserved` blocks and pins them. Returns what is
    /// left of the reservation. A block that another sequence computed meanwhile is shared, and its room freed.
    pub(crate) fn fill(&mut self, hashes: &[u64], reserved: usize) -> usize {
        for &hash in hashes {
            self.blocks.entry(hash).or_insert(Block { pins: 0, stamp: 0 });
            self.pin(hash);
        }
        let filled = hashes.len().min(reserved);
        self.reserved -= filled;
        reserved - filled
    }

    /// Ends a sequence: unpins its blocks, which stay cached, and gives `reserved` blocks back.
    pub(crate) fn release(&mut self, pinned: &[u64], reserved: usize) {
        self.reserved -= reserved;
        // Tail first: the lower stamp is evicted first.
        for hash in pinned.iter().rev() {
            self.clock += 1;
            let Some(block) = self.blocks.get_mut(hash) else { continue };
            block.pins -= 1;
            if block.pins == 0 {
                block.stamp = self.clock;
                self.idle.insert(self.clock, *hash);
            }
        }
    }

    /// Forgets all blocks, unless a sequence runs.
    pub(crate) fn flush(&mut self) -> bool {
        let idle = self.reserved == 0 && self.idle.len() == self.blocks.len();
        if idle {
            self.idle.clear();
            self.blocks.clear();
        }
        idle
    }

    fn is_idle(&self, hash: &u64) -> bool {
        self.blocks.get(hash).is_some_and(|block| block.pins == 0)
    }

    fn pin(&mut self, hash: u64) {
        if let Some(block) = self.blocks.get_mut(&hash) {
            if block.pins == 0 {
                self.idle.remove(&block.stamp);
            }
            block.pins += 1;
        }
    }

    fn evict_one(&mut self) {
        if let Some((_, hash)) = self.idle.pop_first() {
            self.blocks.remove(&hash);
        }
    }
}
