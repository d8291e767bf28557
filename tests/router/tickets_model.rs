//! Tickets against a naive map: whatever is done in whatever order, every answer and every count.

use proptest::prelude::*;

use crate::models::tickets::{self, CAPACITY, DEADLINE, Step};
use crate::support;

fn step() -> impl Strategy<Value = Step> {
    let any = any::<usize>;
    prop_oneof![
        20 => Just(Step::Open),
        10 => Just(Step::OpenPair),
        10 => any().prop_map(Step::FirstToken),
        14 => any().prop_map(Step::Complete),
        6 => any().prop_map(Step::Progress),
        4 => (0..4u64, 0..CAPACITY as u64 + 2).prop_map(|(g, i)| Step::Forged(g << 20 | i)),
        4 => (0..DEADLINE * 2 / 3).prop_map(Step::Pass),
        1 => Just(Step::Fork),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tickets_agree_with_a_naive_map(
        policy in prop::sample::select(&support::POLICIES[..]),
        steps in prop::collection::vec(step(), 1..300),
    ) {
        tickets::run(policy, steps.into_iter());
    }
}
