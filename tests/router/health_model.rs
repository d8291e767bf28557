//! The pool's writer side against a naive model: membership, weights, health and time.

use std::time::Duration;

use pointsman::{Outcome, Role};
use proptest::prelude::*;

use crate::models::pool::{self, Step};
use crate::support::SECOND;

fn step() -> impl Strategy<Value = Step> {
    let any = || any::<usize>();
    let role = prop::sample::select(&Role::ALL[..]);
    let weight =
        prop::sample::select(&[0.5, 1.0, 3.0, 0.0, -1.0, f64::NAN, f64::INFINITY, 2e6][..]);
    let good = prop::sample::select(&[0.5, 1.0, 3.0][..]);
    let limit = prop::sample::select(&[None, None, Some(0), Some(1), Some(2)][..]);
    let outcome = prop::sample::select(vec![
        Outcome::Success,
        Outcome::WorkerError,
        Outcome::WorkerError,
        Outcome::Timeout,
        Outcome::ClientError,
        Outcome::ClientCancelled,
        Outcome::Overloaded { retry_after: Duration::from_secs(7) },
    ]);
    let add = (0..9u8, role, prop_oneof![8 => good, 1 => weight.clone()], limit.clone());
    prop_oneof![
        6 => add.prop_map(|(url, role, weight, limit)| Step::Add { url, role, weight, limit }),
        1 => any().prop_map(Step::Remove),
        2 => (any(), proptest::bool::ANY).prop_map(|(i, drain)| Step::Drain(i, drain)),
        1 => (any(), weight).prop_map(|(i, weight)| Step::Weight(i, weight)),
        1 => (any(), limit).prop_map(|(i, limit)| Step::Limit(i, limit)),
        1 => (any(), proptest::option::of(proptest::bool::ANY)).prop_map(|(i, health)| Step::Health(i, health)),
        20 => any().prop_map(Step::Select),
        24 => (any(), outcome).prop_map(|(i, outcome)| Step::Complete(i, outcome)),
        8 => (0..25 * SECOND).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_pool_agrees_with_a_naive_one(steps in prop::collection::vec(step(), 1..250)) {
        pool::run(steps.into_iter());
    }
}
