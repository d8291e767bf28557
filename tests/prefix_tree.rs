//! The prefix tree against the naive model, operation by operation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/reference_tree.rs"]
mod reference_tree;

use std::collections::HashMap;

use pointsman::prefix::{Matches, PrefixTree, Registration};
use proptest::prelude::*;
use reference_tree::{Paths, ReferenceTree};

#[derive(Clone, Debug)]
enum Operation {
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

/// Paths that share beginnings: few symbols, long stretches of one symbol.
fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((0u8..3, 1usize..14), 0..6).prop_map(|stretches| {
        stretches.into_iter().flat_map(|(symbol, length)| vec![symbol; length]).collect()
    })
}

fn operation(slots: u16) -> impl Strategy<Value = Operation> {
    prop_oneof![
        20 => (path(), 0..slots).prop_map(|(path, slot)| Operation::Send { path, slot }),
        1 => (0..slots).prop_map(|slot| Operation::Register { slot }),
        1 => (0..slots).prop_map(|slot| Operation::Unregister { slot }),
        1 => (0..slots, 1u64..63)
            .prop_map(|(slot, capacity)| Operation::Shrink { slot, capacity }),
    ]
}

struct Pair {
    tree: PrefixTree,
    model: ReferenceTree,
    paths: Paths,
    registrations: HashMap<u16, Registration>,
    slots: u16,
    capacity: Option<u64>,
    /// Blocks by which the tree may claim more than the model.
    slack: u32,
}

impl Pair {
    fn new(slots: u16, capacity: Option<u64>) -> Pair {
        let mut pair = Pair {
            tree: PrefixTree::new(1 << 20, usize::from(slots)).unwrap(),
            model: ReferenceTree::default(),
            paths: Paths::default(),
            registrations: HashMap::new(),
            slots,
            capacity,
            slack: if capacity.is_some() { 7 } else { 0 },
        };
        (0..slots).for_each(|slot| pair.register(slot));
        pair
    }

    fn register(&mut self, slot: u16) {
        let registration = self.tree.register(slot, self.capacity).unwrap();
        self.registrations.insert(slot, registration);
        self.model.register(slot, self.capacity);
    }

    fn apply(&mut self, operation: &Operation) {
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

    fn send(&mut self, path: &[u8], slot: u16) {
        let blocks = self.paths.blocks(path);
        let mut matches = Matches::new();
        self.tree.find(&blocks, &mut matches);
        self.compare(&blocks, &matches);
        let Some(&registration) = self.registrations.get(&slot) else { return };
        let before = self.tree.leading(&blocks, &matches, slot);
        let done = self.tree.remember(&blocks, &matches, slot, registration);
        assert!(done.accepted);
        assert_eq!((done.skipped, done.evicted_nodes), (0, 0));
        assert_eq!(done.new_blocks, blocks.len() as u32 - before);
        self.model.remember(&blocks, slot, u64::from(done.new_blocks + done.aged_blocks));
        self.tree.find(&blocks, &mut matches);
        self.compare(&blocks, &matches);
    }

    fn compare(&self, blocks: &[u64], matches: &Matches) {
        for slot in 0..self.slots {
            let exact = self.model.leading(blocks, slot);
            let claimed = self.tree.leading(blocks, matches, slot);
            assert!(claimed <= self.model.sent(blocks, slot), "slot {slot}: never inserted");
            assert!(
                (exact..=exact + self.slack).contains(&claimed),
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_few_workers_match_exactly(operations in prop::collection::vec(operation(5), 1..120)) {
        let mut pair = Pair::new(5, None);
        operations.iter().for_each(|operation| pair.apply(operation));
    }

    #[test]
    fn many_holders_match_exactly(operations in prop::collection::vec(operation(40), 1..250)) {
        let mut pair = Pair::new(40, None);
        operations.iter().for_each(|operation| pair.apply(operation));
    }

    #[test]
    fn capacity_is_kept_to_within_a_run(
        operations in prop::collection::vec(operation(4), 1..120),
        capacity in 1u64..63,
    ) {
        let mut pair = Pair::new(4, Some(capacity));
        operations.iter().for_each(|operation| pair.apply(operation));
    }

    #[test]
    fn long_paths_match_exactly(
        sends in prop::collection::vec((0usize..4, 1usize..3000, 0u16..6), 1..25),
    ) {
        let mut pair = Pair::new(6, None);
        for (branch, length, slot) in sends {
            // Branches leave the common path after 0, 700, 1,400 and 2,100 blocks.
            let mut path = vec![0; length];
            path.iter_mut().skip(700 * branch).for_each(|symbol| *symbol = branch as u8);
            pair.send(&path, slot);
        }
    }
}
