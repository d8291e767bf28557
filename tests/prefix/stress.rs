//! The prefix tree under threads: no claim that no thread has made true, and no lost order.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pointsman::internals::{Matches, PrefixTree};

const SLOTS: u16 = 12;
const FAMILIES: u64 = 300;

/// Family `f` has paths of at most `longest(f)` blocks, sent to two slots only; so any other
/// claim is false whatever the interleaving.
fn longest(family: u64) -> usize {
    10 + (family * 7 % 90) as usize
}

fn path(family: u64) -> Vec<u64> {
    // A shared head of ten blocks, then blocks of the family's own.
    let own = |block: u64| (family << 16 | block) + 1;
    (0..longest(family) as u64 + 20).map(|b| if b < 10 { b + 1 } else { own(b) }).collect()
}

fn may_hold(family: u64, slot: u16) -> bool {
    u64::from(slot) % 6 == family % 6
}

fn run(budget: usize, rounds: u64) {
    let tree = PrefixTree::new(budget, usize::from(SLOTS)).unwrap();
    let registrations: Vec<AtomicU64> = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
    let live: Vec<_> = (0..SLOTS)
        .map(|slot| parking_lot::Mutex::new(tree.register(slot, None).unwrap()))
        .collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4u64)
            .map(|thread| {
                let (tree, live) = (&tree, &live);
                scope.spawn(move || {
                    let mut matches = Matches::new();
                    for round in 0..rounds {
                        let mixed = (round * 4 + thread).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
                        let family = mixed % FAMILIES;
                        let whole = path(family);
                        tree.find(&whole, &mut matches);
                        for holder in matches.holders() {
                            let blocks = holder.blocks as usize;
                            assert!(blocks <= longest(family), "{family}: {holder:?}");
                            assert!(blocks <= 10 || may_hold(family, holder.slot));
                        }
                        let slot = (family % 6 + 6 * (mixed >> 30 & 1)) as u16;
                        let sent = &whole[..1 + (mixed >> 10) as usize % longest(family)];
                        tree.find(sent, &mut matches);
                        let registration = *live[usize::from(slot)].lock();
                        tree.remember(sent, &matches, slot, registration);
                    }
                })
            })
            .collect();
        let (tree, live, stop, registrations) = (&tree, &live, &stop, &registrations);
        scope.spawn(move || {
            let mut slot = 0;
            while !stop.load(Ordering::Relaxed) {
                slot = (slot + 1) % SLOTS;
                let mut current = live[usize::from(slot)].lock();
                tree.unregister(slot);
                *current = tree.register(slot, None).unwrap();
                registrations[usize::from(slot)].fetch_add(1, Ordering::Relaxed);
                drop(current);
                std::thread::yield_now();
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });

    let stats = tree.stats();
    assert!(stats.nodes() <= stats.node_capacity);
    assert!(stats.held_bytes <= stats.budget_bytes);
    // Nothing of a removed worker is left, and an idle tree is consistent again: what is sent is
    // found to the last block.
    let mut matches = Matches::new();
    (0..SLOTS).for_each(|slot| tree.unregister(slot));
    for family in 0..FAMILIES {
        tree.find(&path(family), &mut matches);
        assert_eq!(matches.holders(), &[]);
    }
    for slot in 0..SLOTS {
        let registration = tree.register(slot, None).unwrap();
        let family = u64::from(slot);
        let sent = &path(family)[..longest(family)];
        tree.find(sent, &mut matches);
        assert!(tree.remember(sent, &matches, slot, registration).accepted);
        tree.find(sent, &mut matches);
        assert_eq!(matches.leading(slot) as usize, sent.len());
    }
}

#[test]
fn no_false_claim_with_room() {
    run(4 << 20, 8000);
}

#[test]
fn no_false_claim_while_everything_is_evicted() {
    run(40_000, 8000);
}
