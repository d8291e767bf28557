//! The prefix tree against the naive model, operation by operation.

use proptest::prelude::*;

use crate::model::{Keys, Operation, Pair, Setting};

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
    fn a_small_table_claims_nothing_that_was_not_sent(
        operations in prop::collection::vec(operation(5), 1..120),
        keys in prop::sample::select(&[Keys::Plain, Keys::SameTag, Keys::SameSets][..]),
    ) {
        let mut pair = Pair::of(Setting { budget: 16_384, slots: 5, capacity: None, keys });
        operations.iter().for_each(|operation| pair.apply(operation));
    }

    #[test]
    fn equal_tags_match_exactly(operations in prop::collection::vec(operation(5), 1..120)) {
        let keys = Keys::SameTag;
        let mut pair = Pair::of(Setting { budget: 1 << 20, slots: 5, capacity: None, keys });
        operations.iter().for_each(|operation| pair.apply(operation));
        assert!(!pair.evicted());
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

/// Paths enough for more nodes than two sets have.
#[test]
fn keys_of_the_same_sets_push_each_other_out() {
    let mut pair =
        Pair::of(Setting { budget: 1 << 20, slots: 1, capacity: None, keys: Keys::SameSets });
    (0..200).for_each(|symbol| pair.send(&[symbol], 0));
    assert!(pair.evicted());
}
