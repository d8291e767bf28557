//! Exhaustive interleavings of the protocols that the tree rests on, at a table of two sets of
//! two nodes. Run with `RUSTFLAGS="--cfg pointsman_loom" cargo test --release --lib loom`.

use loom::sync::Arc;
use loom::thread;

use super::matches::Matches;
use super::node::{META, Meta, NODE_WORDS, RUN};
use super::record::Record;
use super::slots::Slots;
use super::table::{Kind, Table};
use super::{PrefixTree, Registration};

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_branches = 10_000;
    builder.check(test);
}

/// A node whose every hash tells which key it belongs to.
fn node(key: u64) -> [u64; NODE_WORDS] {
    let mut words = [key; NODE_WORDS];
    words[META] = Meta::new(0, RUN).0;
    words
}

fn insert(table: &Table, key: u64) -> bool {
    let home = table.home(key, Kind::Run);
    table.insert(&home, 0x1f, 0x1f, |_| node(key)).is_some()
}

/// What a reader takes from a node belongs together, even if the node is replaced meanwhile.
#[test]
fn loom_a_node_is_read_whole_or_not_at_all() {
    // One key at a time: which node the fifth insert replaces depends on where keys fall.
    for key in 1..=5 {
        model(move || {
            let table = Arc::new(Table::new(2).unwrap());
            (1..=4).for_each(|key| assert!(insert(&table, key)));
            let writer = {
                let table = table.clone();
                thread::spawn(move || insert(&table, 5))
            };
            let located = table.locate(table.home(key, Kind::Run));
            if let Some(found) = table.read(&located, &[key; RUN]) {
                assert_eq!((found.same, found.length), (RUN as u8, RUN as u8));
            }
            assert!(writer.join().unwrap());
        });
    }
}

/// Two writers of one set: one gives way, neither mixes its words with the other's.
#[test]
fn loom_writers_exclude_each_other() {
    model(|| {
        let table = Arc::new(Table::new(2).unwrap());
        let writer = {
            let table = table.clone();
            thread::spawn(move || insert(&table, 1))
        };
        let own = insert(&table, 2);
        let other = writer.join().unwrap();
        assert!(own || other);
        for (key, written) in [(1, other), (2, own)] {
            let found = table.probe(&table.home(key, Kind::Run), &[key; RUN]);
            assert_eq!(found.map(|found| found.same), written.then_some(RUN as u8));
        }
    });
}

/// A refresh of a mark outside the lock never damages a tag.
#[test]
fn loom_touch_and_insert_keep_each_others_lanes() {
    model(|| {
        let table = Arc::new(Table::new(2).unwrap());
        assert!(insert(&table, 1));
        let toucher = {
            let table = table.clone();
            thread::spawn(move || {
                if let Some(found) = table.probe(&table.home(1, Kind::Run), &[1; RUN]) {
                    table.touch(&found, 0x2f);
                }
            })
        };
        let inserted = insert(&table, 2);
        toucher.join().unwrap();
        assert!(table.probe(&table.home(1, Kind::Run), &[1; RUN]).is_some());
        assert_eq!(table.probe(&table.home(2, Kind::Run), &[2; RUN]).is_some(), inserted);
    });
}

/// An insert decided under an old registration leaves no record that the new one honours.
#[test]
fn loom_a_late_insert_is_refused_or_born_dead() {
    loom::model(|| {
        let slots = Arc::new(Slots::new(1));
        let old = slots.register(0, None);
        let inserter = {
            let slots = slots.clone();
            thread::spawn(move || {
                let old = old.filter(|&old| slots.is_current(0, old))?;
                let stamp = slots.advance(0, 3, 0);
                slots.is_current(0, old).then(|| Record::new(0, 3, stamp))
            })
        };
        let new = slots.register(0, None);
        let late = inserter.join().unwrap();
        assert!(new.is_some_and(|new| slots.is_current(0, new)));
        assert!(!late.is_some_and(|record| slots.is_resident(record)));
    });
}

/// A removal that is over before a lookup begins hides everything.
#[test]
fn loom_nothing_is_resident_after_removal() {
    loom::model(|| {
        let slots = Arc::new(Slots::new(1));
        let registration = slots.register(0, None);
        let inserter = {
            let slots = slots.clone();
            thread::spawn(move || {
                let stamp = slots.advance(0, 1, 0);
                let registration = registration.filter(|&r| slots.is_current(0, r));
                registration.map(|_| Record::new(0, 1, stamp))
            })
        };
        slots.unregister(0);
        let record = inserter.join().unwrap();
        assert!(!record.is_some_and(|record| slots.is_resident(record)));
        assert_eq!(slots.registered(), 0);
    });
}

/// A whole tree of four nodes with two workers.
struct Small {
    tree: PrefixTree,
    registrations: [Registration; 2],
}

impl Small {
    fn new() -> Arc<Small> {
        let fixed = super::Counters::BYTES + 2 * Slots::BYTES;
        let tree = PrefixTree::new(fixed + Table::bytes(2), 2).unwrap();
        let registrations = [0, 1].map(|slot| tree.register(slot, None).unwrap());
        Arc::new(Small { tree, registrations })
    }

    fn send(&self, blocks: &[u64], slot: u16) -> bool {
        let mut matches = Matches::new();
        self.tree.find(blocks, &mut matches);
        let registration = self.registrations[usize::from(slot)];
        self.tree.remember(blocks, &matches, slot, registration).accepted
    }

    /// Leading blocks by slot.
    fn held(&self, blocks: &[u64]) -> [u32; 2] {
        let mut matches = Matches::new();
        self.tree.find(blocks, &mut matches);
        [0, 1].map(|slot| matches.leading(slot))
    }
}

/// A lookup during an insert finds what was sent, for the worker it was sent to, or nothing.
#[test]
fn loom_tree_lookup_beside_insert() {
    model(|| {
        let small = Small::new();
        let sender = {
            let small = small.clone();
            thread::spawn(move || small.send(&[1, 2], 0))
        };
        let [sent, other] = small.held(&[1, 2, 3]);
        assert!(sent <= 2 && other == 0);
        assert!(sender.join().unwrap());
        assert_eq!(small.held(&[1, 2, 3]), [2, 0]);
    });
}

/// Two workers become holders of one run at once: each holds what was sent to it, or was skipped.
#[test]
fn loom_tree_insert_beside_insert() {
    model(|| {
        let small = Small::new();
        let sender = {
            let small = small.clone();
            thread::spawn(move || small.send(&[1, 2], 0))
        };
        small.send(&[1, 2], 1);
        sender.join().unwrap();
        let held = small.held(&[1, 2]);
        assert!(held.iter().all(|&blocks| blocks == 0 || blocks == 2) && held != [0, 0]);
    });
}

/// Two inserts into a full table: each evicts, neither claims what the other sent.
#[test]
fn loom_tree_eviction_beside_insert() {
    model(|| {
        let small = Small::new();
        (10..14).for_each(|block| assert!(small.send(&[block], 1)));
        let sender = {
            let small = small.clone();
            thread::spawn(move || small.send(&[1], 0))
        };
        small.send(&[2], 1);
        sender.join().unwrap();
        assert_eq!((small.held(&[1])[1], small.held(&[2])[0]), (0, 0));
        assert!((10..14).all(|block| small.held(&[block])[0] == 0));
    });
}

/// Removal and a new registration during an insert under the old one: once both are over the new
/// worker holds nothing, and what is sent to it is found.
#[test]
fn loom_tree_removal_beside_insert() {
    model(|| {
        let small = Small::new();
        let sender = {
            let small = small.clone();
            thread::spawn(move || small.send(&[1], 0))
        };
        small.tree.unregister(0);
        let new = small.tree.register(0, None).unwrap();
        sender.join().unwrap();
        assert_eq!(small.held(&[1]), [0, 0]);
        let mut matches = Matches::new();
        small.tree.find(&[1], &mut matches);
        assert!(small.tree.remember(&[1], &matches, 0, new).accepted);
        assert_eq!(small.held(&[1]), [1, 0]);
    });
}

/// Removal during a lookup: a lookup that begins afterwards finds nothing.
#[test]
fn loom_tree_removal_beside_lookup() {
    model(|| {
        let small = Small::new();
        assert!(small.send(&[1], 0) && small.send(&[1], 1));
        let finder = {
            let small = small.clone();
            thread::spawn(move || small.held(&[1]))
        };
        small.tree.unregister(0);
        assert_eq!(small.held(&[1]), [0, 1]);
        let [removed, other] = finder.join().unwrap();
        assert!(removed <= 1 && other == 1);
    });
}
