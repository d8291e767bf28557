//! Which workers may serve a request, against a naive list: any policy, any demands, any state.

use pointsman::Role;
use proptest::prelude::*;

use crate::models::eligibility::{self, Demand, Step};
use crate::support;

fn demand() -> impl Strategy<Value = Demand> {
    let bits = || prop_oneof![3 => Just(None), 1 => any::<u16>().prop_map(Some)];
    let label = prop::sample::select(&[None, None, None, Some(0), Some(1)][..]);
    let excluded = prop_oneof![2 => Just(0), 1 => any::<u16>()];
    (any::<u8>(), any::<Option<u8>>(), excluded, bits(), bits(), label).prop_map(
        |(prompt, key, excluded, allowed, slots, label)| Demand {
            prompt,
            key,
            excluded,
            allowed,
            slots,
            label,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let place = any::<usize>;
    let limit = || prop::sample::select(&[None, None, Some(1), Some(2)][..]);
    let role = prop::sample::select(&Role::ALL[..]);
    let group = prop::sample::select(&[None, Some(0), Some(1)][..]);
    prop_oneof![
        5 => (role, group, 0..2u8, limit())
            .prop_map(|(role, group, label, limit)| Step::Add { role, group, label, limit }),
        1 => place().prop_map(Step::Remove),
        1 => (place(), any::<bool>()).prop_map(|(i, draining)| Step::Drain(i, draining)),
        1 => (place(), any::<bool>()).prop_map(|(i, healthy)| Step::Health(i, healthy)),
        1 => (place(), limit()).prop_map(|(i, limit)| Step::Limit(i, limit)),
        1 => place().prop_map(Step::Policy),
        12 => demand().prop_map(Step::Select),
        8 => demand().prop_map(Step::SelectPair),
        2 => place().prop_map(Step::FirstToken),
        8 => place().prop_map(Step::Complete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_worker_is_named_exactly_when_one_may_serve(
        policy in prop::sample::select(&support::POLICIES[..]),
        steps in prop::collection::vec(step(), 1..250),
    ) {
        eligibility::run(policy, steps.into_iter());
    }
}
