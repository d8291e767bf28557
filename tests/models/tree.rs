//! The prefix tree beside the naive one: every operation goes to both, and both are asked the same.

use std::collections::HashMap;

use pointsman::internals::{Matches, PrefixTree, Registration};

use crate::reference_tree::{Paths, ReferenceTree};

#[derive(Clone, Debug)]
pub enum Operation {
    Send {
        path: Vec<u8>,
        slot: u16,
    },
    Register {
        slot: u16,
    },
    Unregister {
        slot: u16,
    },
    /// Only ever shrinks: what has expired may be forgotten, so a greater capacity brings back
    /// some of it or nothing.
    Shrink {
        slot: u16,
        capacity: u64,
    },
}

/// Where the keys of a path's blocks put them in the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keys {
    /// Wherever small numbers fall.
    Plain,
    /// Every key has the same tag, so that only the key itself tells nodes apart.
    SameTag,
    /// Every key belongs in the same two sets and has the same tag.
    SameSets,
}

impl Keys {
    /// A key of its own for every number below 2^24.
    fn key(self, number: u64) -> u64 {
        match self {
            Keys::Plain => number,
            // Bits 8 to 23 of the mixed key make the tag, the highest ones choose the first set.
            Keys::SameTag => unmix(number.wrapping_mul(0x9e37_79b1) << 32 | 0x0077_7700),
            Keys::SameSets => unmix(number << 32 | 0x0077_7700),
        }
    }
}

/// The inverse of how the table mixes a key; if that changes, these keys no longer collide, and
/// nothing else happens.
fn unmix(mixed: u64) -> u64 {
    let unshift = |x: u64| x ^ (x >> 32);
    let key = unshift(mixed).wrapping_mul(inverse(0xd6e8_feb8_6659_fd93));
    unshift(key).wrapping_mul(inverse(0x9e37_79b9_7f4a_7c15))
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration.
const fn inverse(odd: u64) -> u64 {
    let (mut found, mut step) = (odd, 0);
    while step < 5 {
        found = found.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(found)));
        step += 1;
    }
    found
}

/// How a pair of trees is made.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub budget: usize,
    pub slots: u16,
    pub capacity: Option<u64>,
    pub keys: Keys,
}

/// Both trees.
pub struct Pair {
    tree: PrefixTree,
    model: ReferenceTree,
    paths: Paths,
    registrations: HashMap<u16, Registration>,
    setting: Setting,
    /// Blocks by which the tree may claim more than the model.
    slack: u32,
    /// Whether the tree had to forget something, and may claim less from then on.
    evicted: bool,
}

impl Pair {
    /// Trees with room for all that a test sends.
    pub fn new(slots: u16, capacity: Option<u64>) -> Pair {
        Pair::of(Setting { budget: 1 << 20, slots, capacity, keys: Keys::Plain })
    }

    pub fn of(setting: Setting) -> Pair {
        let mut pair = Pair {
            tree: PrefixTree::new(setting.budget, usize::from(setting.slots)).unwrap(),
            model: ReferenceTree::default(),
            paths: Paths::default(),
            registrations: HashMap::new(),
            setting,
            slack: if setting.capacity.is_some() { 7 } else { 0 },
            evicted: false,
        };
        (0..setting.slots).for_each(|slot| pair.register(slot));
        pair
    }

    fn register(&mut self, slot: u16) {
        let registration = self.tree.register(slot, self.setting.capacity).unwrap();
        self.registrations.insert(slot, registration);
        self.model.register(slot, self.setting.capacity);
    }

    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Send { path, slot } => self.send(path, *slot),
            Operation::Register { slot } => self.register(*slot),
            Operation::Unregister { slot } => {
                self.tree.unregister(*slot);
                self.model.unregister(*slot);
                self.registrations.remove(slot);
            }
            Operation::Shrink { slot, capacity } => {
                let Some(old) = self.model.capacity(*slot) else { return };
                self.tree.set_capacity(*slot, Some(old.min(*capacity)));
                self.model.set_capacity(*slot, Some(old.min(*capacity)));
            }
        }
    }

    pub fn send(&mut self, path: &[u8], slot: u16) {
        let mut blocks = self.paths.blocks(path);
        blocks.iter_mut().for_each(|block| *block = self.setting.keys.key(*block));
        let mut matches = Matches::new();
        self.tree.find(&blocks, &mut matches);
        self.compare(&blocks, &matches);
        let Some(&registration) = self.registrations.get(&slot) else { return };
        let before = self.tree.leading(&blocks, &matches, slot);
        let done = self.tree.remember(&blocks, &matches, slot, registration);
        assert!(done.accepted);
        assert_eq!(done.skipped, 0);
        self.evicted |= done.evicted_nodes > 0;
        assert_eq!(done.new_blocks, blocks.len() as u32 - before);
        self.model.remember(&blocks, slot, u64::from(done.new_blocks + done.aged_blocks));
        self.tree.find(&blocks, &mut matches);
        self.compare(&blocks, &matches);
    }

    /// Whether the tree had to forget something.
    pub fn evicted(&self) -> bool {
        self.evicted
    }

    fn compare(&self, blocks: &[u64], matches: &Matches) {
        for slot in 0..self.setting.slots {
            let exact = self.model.leading(blocks, slot);
            let least = if self.evicted { 0 } else { exact };
            let claimed = self.tree.leading(blocks, matches, slot);
            assert!(claimed <= self.model.sent(blocks, slot), "slot {slot}: never inserted");
            assert!(
                (least..=exact + self.slack).contains(&claimed),
                "slot {slot}: claimed {claimed}, exact {exact}, {} blocks",
                blocks.len()
            );
        }
        let listed = matches.holders();
        assert!(listed.iter().all(|holder| holder.blocks > 0));
        if matches.is_complete() {
            assert!(listed.windows(2).all(|pair| pair[0].blocks >= pair[1].blocks));
        }
    }
}
