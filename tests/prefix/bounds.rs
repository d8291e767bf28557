//! The prefix tree at its limits: bytes, allocations, eviction order, endless churn.

use std::collections::{HashMap, VecDeque};

use pointsman::internals::{Matches, PrefixTree, Registration, TreeError};

use crate::counting::{counted, refusing};

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A path of its own for every number, sharing nothing with others.
fn path(number: u64, length: usize) -> Vec<u64> {
    (0..length as u64).map(|block| (number << 16 | block) + 1).collect()
}

fn send(tree: &PrefixTree, blocks: &[u64], slot: u16, registration: Registration) -> u32 {
    let mut matches = Matches::new();
    tree.find(blocks, &mut matches);
    let before = matches.leading(slot);
    tree.remember(blocks, &matches, slot, registration);
    before
}

fn leading(tree: &PrefixTree, blocks: &[u64], slot: u16) -> u32 {
    let mut matches = Matches::new();
    tree.find(blocks, &mut matches);
    tree.leading(blocks, &matches, slot)
}

#[test]
fn the_allocator_never_sees_more_than_the_budget() {
    for workers in [1, 8, 1024] {
        for budget in [60_000, 100_000, 1 << 20, 5_555_555] {
            let (tree, counts) = counted(|| PrefixTree::new(budget, workers).unwrap());
            let held = usize::try_from(counts.bytes).unwrap();
            assert!(held <= budget, "{held} of {budget}");
            assert_eq!(held, tree.held_bytes());
            assert!(budget - held < 2048, "{held} of {budget} wastes more than a set");
            assert_eq!(tree.stats().budget_bytes, budget as u64);
        }
    }
}

/// Bytes of this process that are in memory.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn an_empty_tree_takes_no_memory_from_the_system() {
    let before = resident();
    let trees: Vec<_> = (0..4).map(|_| PrefixTree::new(256 << 20, 16).unwrap()).collect();
    let taken = resident().saturating_sub(before);
    assert!(taken < 200 << 20, "{taken} bytes for {} empty trees", trees.len());
}

/// One that no table could index, and one beyond what the allocator gives. A system that promises any
/// amount of memory would give the latter, so the allocator is told to refuse it.
#[test]
fn a_budget_beyond_the_memory_is_an_error_and_no_abort() {
    let most = match PrefixTree::new(1 << 60, 16).err() {
        Some(TreeError::BudgetTooLarge { most }) => most,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        PrefixTree::new(most + (1 << 20), 16).err(),
        Some(TreeError::BudgetTooLarge { most })
    );
    for bytes in [1 << 30, 3 << 40] {
        let refused = refusing(bytes / 2, || PrefixTree::new(bytes, 16).err());
        assert_eq!(refused, Some(TreeError::OutOfMemory { bytes }));
    }
}

#[test]
fn a_budget_or_worker_count_that_cannot_be_is_refused() {
    let Err(TreeError::BudgetTooSmall { least, .. }) = PrefixTree::new(0, 16) else { panic!() };
    assert!(PrefixTree::new(least, 16).is_ok());
    assert!(PrefixTree::new(least - 1, 16).is_err());
    for max_workers in [0, 1025] {
        assert_eq!(
            PrefixTree::new(1 << 20, max_workers).err(),
            Some(TreeError::Workers { max_workers })
        );
    }
}

#[test]
fn lookups_and_inserts_allocate_nothing_full_or_not() {
    let tree = PrefixTree::new(200_000, 64).unwrap();
    let registrations: Vec<_> = (0..64).map(|slot| tree.register(slot, None).unwrap()).collect();
    let prompt: Vec<u64> = path(1, 200);
    let mut blocks = [0; 40];
    let mut state = 1;
    let ((), counts) = counted(|| {
        for round in 0..5000u64 {
            blocks[..10].copy_from_slice(&prompt[..10]);
            blocks[10..].iter_mut().for_each(|block| *block = random(&mut state));
            let slot = (round % 64) as u16;
            send(&tree, &blocks, slot, registrations[usize::from(slot)]);
        }
    });
    assert_eq!((counts.allocations, counts.frees), (0, 0));
    assert!(tree.stats().evicted_nodes > 1000);
}

/// Exact LRU over whole paths of one node each.
#[derive(Default)]
struct ExactLru {
    stamps: HashMap<u64, u64>,
    order: VecDeque<(u64, u64)>,
    now: u64,
}

impl ExactLru {
    fn touch(&mut self, key: u64, capacity: usize) -> bool {
        self.now += 1;
        let hit = self.stamps.insert(key, self.now).is_some();
        self.order.push_back((key, self.now));
        while self.stamps.len() > capacity {
            let (key, stamp) = self.order.pop_front().unwrap();
            if self.stamps.get(&key) == Some(&stamp) {
                self.stamps.remove(&key);
            }
        }
        hit
    }

    /// How many others were used since `key`.
    fn rank(&self, stamp: u64) -> usize {
        self.stamps.values().filter(|&&other| other > stamp).count()
    }
}

/// The stated tolerance: on skewed traffic the hit rate is within one point of exact LRU over
/// as many nodes, and the seven tenths of the table used last are kept.
#[test]
fn the_least_recently_used_go_first_within_the_tolerance() {
    let tree = PrefixTree::new(400_000, 1).unwrap();
    let registration = tree.register(0, None).unwrap();
    let capacity = tree.stats().node_capacity as usize;
    let mut exact = ExactLru::default();
    let mut state = 7;
    let (mut hits, mut exact_hits, mut total) = (0u64, 0u64, 0u64);
    for round in 0..40 * capacity {
        // Popularity falls with the square: a third of the keys get over half of the requests.
        let draw = (random(&mut state) >> 40) as f64 / (1u64 << 24) as f64;
        let key = (draw * draw * 2.5 * capacity as f64) as u64;
        let hit = send(&tree, &path(key, 8), 0, registration) == 8;
        let exact_hit = exact.touch(key, capacity);
        if round > 5 * capacity {
            hits += u64::from(hit);
            exact_hits += u64::from(exact_hit);
            total += 1;
        }
    }
    let (rate, exact_rate) = (hits as f64 / total as f64, exact_hits as f64 / total as f64);
    println!("hit rate {rate:.4}, exact LRU {exact_rate:.4}");
    assert!(rate > exact_rate - 0.01, "{rate} against {exact_rate}");

    let mut lost_recent = 0;
    let mut youngest = capacity;
    for (&key, &stamp) in &exact.stamps {
        let rank = exact.rank(stamp);
        if leading(&tree, &path(key, 8), 0) < 8 {
            youngest = youngest.min(rank);
            lost_recent += usize::from(rank < capacity * 7 / 10);
        }
    }
    println!("youngest loss at {:.2} of the capacity", youngest as f64 / capacity as f64);
    assert_eq!(lost_recent, 0);
}

#[test]
fn the_tail_of_a_path_goes_before_its_head() {
    let tree = PrefixTree::new(200_000, 1).unwrap();
    let registration = tree.register(0, None).unwrap();
    let long: Vec<Vec<u64>> = (0..10).map(|number| path(number, 64)).collect();
    for blocks in &long {
        send(&tree, blocks, 0, registration);
    }
    let mut kept = vec![64; long.len()];
    let mut partial = 0;
    for number in 100..100 + 4 * tree.stats().node_capacity {
        send(&tree, &path(number, 8), 0, registration);
        for (kept, blocks) in kept.iter_mut().zip(&long) {
            let now = leading(&tree, blocks, 0);
            assert!(now <= *kept);
            partial += u64::from(now > 0 && now < 64);
            *kept = now;
        }
    }
    assert!(kept.iter().all(|&kept| kept == 0));
    assert!(partial > 0, "paths vanish from the tail on, not all at once");
}

/// Sixteen workers, a thousand turnovers of a small table: what was just sent is still found, as
/// surely in the last turnover as in the first, and nothing is claimed that was never sent.
#[test]
fn a_thousand_turnovers_change_nothing() {
    let tree = PrefixTree::new(60_000, 16).unwrap();
    let registrations: Vec<_> = (0..16).map(|slot| tree.register(slot, None).unwrap()).collect();
    let capacity = tree.stats().node_capacity;
    let rounds = 1002 * capacity / 4;
    let mut found = [0u64; 4];
    for number in 0..rounds {
        // Four nodes each.
        let blocks = path(number, 32);
        let slot = (number % 16) as u16;
        send(&tree, &blocks, slot, registrations[usize::from(slot)]);
        let back = number.saturating_sub(capacity / 16);
        let mut matches = Matches::new();
        tree.find(&path(back, 32), &mut matches);
        assert!(matches.holders().iter().all(|holder| u64::from(holder.slot) == back % 16));
        found[(4 * number / rounds) as usize] += u64::from(matches.leading((back % 16) as u16));
    }
    let stats = tree.stats();
    assert!(stats.evicted_nodes > 999 * capacity);
    assert!(stats.nodes() <= capacity);
    let full = rounds / 4 * 32;
    for quarter in found {
        assert!(quarter > full * 98 / 100, "{found:?} of {full}");
    }
}

#[test]
fn a_million_registrations_of_a_slot_leave_nothing_behind() {
    let tree = PrefixTree::new(100_000, 2).unwrap();
    let other = tree.register(1, None).unwrap();
    let blocks = path(1, 20);
    let mut matches = Matches::new();
    for round in 0..1_000_000u64 {
        let capacity = if round % 2 == 0 { None } else { Some(1000) };
        let registration = tree.register(0, capacity).unwrap();
        tree.find(&blocks, &mut matches);
        assert_eq!(matches.leading(0), 0, "round {round}");
        if round % 3 != 0 {
            assert!(tree.remember(&blocks, &matches, 0, registration).accepted);
        }
        if round % 5 == 0 {
            tree.unregister(0);
            tree.find(&blocks, &mut matches);
            assert_eq!(matches.leading(0), 0);
            assert!(!tree.remember(&blocks, &matches, 0, registration).accepted);
        }
    }
    tree.find(&blocks, &mut matches);
    assert!(tree.remember(&blocks, &matches, 1, other).accepted);
    assert_eq!(leading(&tree, &blocks, 1), 20);
}

#[test]
fn a_thousand_holders_of_one_prefix_are_all_known() {
    let tree = PrefixTree::new(4 << 20, 1024).unwrap();
    let blocks = path(1, 16);
    for slot in 0..1024 {
        let registration = tree.register(slot, None).unwrap();
        send(&tree, &blocks[..16 - usize::from(slot % 3)], slot, registration);
    }
    let mut matches = Matches::new();
    tree.find(&blocks, &mut matches);
    assert!(!matches.is_complete());
    assert!(matches.holders().len() >= 32);
    for slot in 0..1024 {
        assert_eq!(tree.leading(&blocks, &matches, slot), 16 - u32::from(slot % 3), "{slot}");
    }
    (0..1024).filter(|slot| slot % 2 == 0).for_each(|slot| tree.unregister(slot));
    tree.find(&blocks, &mut matches);
    for slot in 0..1024 {
        let expected = if slot % 2 == 0 { 0 } else { 16 - u32::from(slot % 3) };
        assert_eq!(tree.leading(&blocks, &matches, slot), expected, "{slot}");
    }
}
