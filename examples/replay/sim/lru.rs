//! A worker's prefix cache: blocks in least-recently-used order, those of running requests pinned.
//!
//! Block ids are dense, so the list lives in an array indexed by id, without hashing. The array
//! comes in chunks, made when first touched: sixty-four gateways that each saw little stay small.

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    older: u32,
    newer: u32,
    pins: u32,
    resident: bool,
}

/// Nodes per chunk.
const CHUNK: usize = 64;

const ABSENT: Node = Node { older: NONE, newer: NONE, pins: 0, resident: false };

/// Blocks in LRU order under a capacity that reservations share.
pub(crate) struct BlockCache {
    chunks: Vec<Option<Box<[Node; CHUNK]>>>,
    oldest: u32,
    newest: u32,
    capacity: usize,
    resident: usize,
    pinned: usize,
    reserved: usize,
}

impl BlockCache {
    /// An empty cache of `capacity` blocks over ids below `ids`.
    pub(crate) fn new(capacity: usize, ids: usize) -> Self {
        Self {
            chunks: vec![None; ids.div_ceil(CHUNK)],
            oldest: NONE,
            newest: NONE,
            capacity,
            resident: 0,
            pinned: 0,
            reserved: 0,
        }
    }

    /// How many leading blocks of `blocks` are resident.
    pub(crate) fn leading(&self, blocks: &[u32]) -> usize {
        blocks.iter().take_while(|&&block| self.node(block).resident).count()
    }

    /// Blocks that neither a running request nor a reservation holds.
    fn available(&self) -> usize {
        self.capacity.saturating_sub(self.pinned + self.reserved)
    }

    /// Pins the resident `hits` and reserves `fresh` more blocks, evicting as needed; false, and
    /// nothing changed, when there is no room. `force` admits a request larger than the cache.
    pub(crate) fn admit(&mut self, hits: &[u32], fresh: usize, force: bool) -> bool {
        let newly = hits.iter().filter(|&&block| self.node(block).pins == 0).count();
        if newly + fresh > self.available() && !force {
            return false;
        }
        for &block in hits {
            self.pin(block);
        }
        self.reserved += fresh;
        self.shrink();
        true
    }

    /// Turns reserved blocks into resident, pinned ones.
    pub(crate) fn fill(&mut self, blocks: &[u32]) {
        self.reserved = self.reserved.saturating_sub(blocks.len());
        for &block in blocks {
            self.insert(block);
            self.pin(block);
        }
        self.shrink();
    }

    /// Gives `unused` reserved blocks back.
    pub(crate) fn unreserve(&mut self, unused: usize) {
        self.reserved = self.reserved.saturating_sub(unused);
    }

    /// Unpins the blocks of a finished request, tail first, so that its tail is evicted before its
    /// head.
    pub(crate) fn release(&mut self, blocks: &[u32]) {
        for &block in blocks.iter().rev() {
            let node = self.node_mut(block);
            node.pins = node.pins.saturating_sub(1);
            if node.resident && node.pins == 0 {
                self.pinned -= 1;
                self.push_newest(block);
            }
        }
        self.shrink();
    }

    /// Ends a request whose `prompt` is pinned: `all` (the prompt, then what the output completed)
    /// stays resident and evictable, tail evicted first.
    pub(crate) fn release_with(&mut self, prompt: &[u32], all: &[u32]) {
        for &block in all[prompt.len()..].iter().rev() {
            self.insert(block);
        }
        self.release(prompt);
    }

    /// Makes `blocks` resident and most recently used, evicting beyond the capacity: a plain LRU
    /// cache, without pins.
    pub(crate) fn touch(&mut self, blocks: &[u32]) {
        for &block in blocks.iter().rev() {
            if self.node(block).resident {
                self.unlink(block);
                self.push_newest(block);
            } else {
                self.insert(block);
            }
        }
        self.shrink();
    }

    /// Forgets everything: a worker that restarts.
    pub(crate) fn clear(&mut self) {
        self.chunks.fill(None);
        (self.oldest, self.newest) = (NONE, NONE);
        (self.resident, self.pinned, self.reserved) = (0, 0, 0);
    }

    /// Blocks that running requests hold, reservations included.
    pub(crate) fn held(&self) -> usize {
        self.pinned + self.reserved
    }

    fn insert(&mut self, block: u32) {
        let node = self.node_mut(block);
        if !node.resident {
            node.resident = true;
            self.resident += 1;
            self.push_newest(block);
        }
    }

    fn pin(&mut self, block: u32) {
        if self.node(block).pins == 0 {
            self.unlink(block);
            self.pinned += 1;
        }
        self.node_mut(block).pins += 1;
    }

    fn shrink(&mut self) {
        while self.resident + self.reserved > self.capacity && self.oldest != NONE {
            let victim = self.oldest;
            self.unlink(victim);
            *self.node_mut(victim) = ABSENT;
            self.resident -= 1;
        }
    }

    fn unlink(&mut self, block: u32) {
        let Node { older, newer, .. } = self.node(block);
        match older {
            NONE => self.oldest = newer,
            _ => self.node_mut(older).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            _ => self.node_mut(newer).older = older,
        }
    }

    fn push_newest(&mut self, block: u32) {
        let newest = self.newest;
        let node = self.node_mut(block);
        (node.older, node.newer) = (newest, NONE);
        match newest {
            NONE => self.oldest = block,
            newest => self.node_mut(newest).newer = block,
        }
        self.newest = block;
    }

    fn node(&self, block: u32) -> Node {
        let chunk = &self.chunks[block as usize / CHUNK];
        chunk.as_ref().map_or(ABSENT, |chunk| chunk[block as usize % CHUNK])
    }

    fn node_mut(&mut self, block: u32) -> &mut Node {
        let chunk = &mut self.chunks[block as usize / CHUNK];
        &mut chunk.get_or_insert_with(|| Box::new([ABSENT; CHUNK]))[block as usize % CHUNK]
    }
}
