//! The router against naive models of what it does: membership and health, tickets, and which workers serve
//! which request.
//!
//! The first byte chooses the model, the rest are its steps.
#![no_main]

#[allow(dead_code)]
#[path = "../../tests/models/mod.rs"]
mod models;
#[allow(dead_code)]
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use models::{eligibility, pool, tickets};
use pointsman::{Outcome, Role};
use support::{POLICIES, SECOND};

fuzz_target!(|input: &[u8]| {
    // Running out of input is the end of the steps.
    let _ = run(&mut Unstructured::new(input));
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    match input.int_in_range(0..=2)? {
        0 => pool::run(steps(input, pool_step)),
        1 => tickets::run(input.choose(&POLICIES)?, steps(input, ticket_step)),
        _ => eligibility::run(input.choose(&POLICIES)?, steps(input, eligibility_step)),
    }
    Ok(())
}

/// One step after another, until the input ends.
fn steps<'a, 'i, T>(
    input: &'a mut Unstructured<'i>,
    step: fn(&mut Unstructured<'i>) -> Result<T>,
) -> impl Iterator<Item = T> + use<'a, 'i, T> {
    std::iter::from_fn(move || if input.is_empty() { None } else { step(input).ok() })
}

fn pool_step(input: &mut Unstructured<'_>) -> Result<pool::Step> {
    use pool::Step;
    let kind = input.int_in_range(0..=14)?;
    let any = input.arbitrary::<u8>()?.into();
    Ok(match kind {
        0 | 1 => Step::Add {
            url: input.int_in_range(0..=8)?,
            role: *input.choose(&Role::ALL)?,
            weight: weight(input)?,
            limit: *input.choose(&[None, Some(0), Some(1), Some(2)])?,
        },
        2 => Step::Remove(any),
        3 => Step::Drain(any, input.arbitrary()?),
        4 => Step::Weight(any, weight(input)?),
        5 => Step::Limit(any, *input.choose(&[None, Some(0), Some(1), Some(2)])?),
        6 => Step::Health(any, input.arbitrary()?),
        7 | 8 => Step::Pass(input.int_in_range(0..=25 * SECOND)?),
        9..=11 => Step::Select(any),
        _ => Step::Complete(any, outcome(input)?),
    })
}

/// Mostly a usual weight, else any number at all.
fn weight(input: &mut Unstructured<'_>) -> Result<f64> {
    if input.ratio(1, 4)? { input.arbitrary() } else { Ok(*input.choose(&[0.5, 1.0, 3.0])?) }
}

fn outcome(input: &mut Unstructured<'_>) -> Result<Outcome> {
    Ok(match input.int_in_range(0..=7)? {
        0 => Outcome::ClientCancelled,
        1 => Outcome::ClientError,
        2 | 3 => Outcome::WorkerError,
        4 => Outcome::Timeout,
        5 => Outcome::Overloaded {
            retry_after: Duration::from_nanos(input.int_in_range(0..=9 * SECOND)?),
        },
        _ => Outcome::Success,
    })
}

fn ticket_step(input: &mut Unstructured<'_>) -> Result<tickets::Step> {
    use tickets::{DEADLINE, Step};
    let kind = input.int_in_range(0..=13)?;
    Ok(match kind {
        0..=3 => Step::Open,
        4 | 5 => Step::OpenPair,
        6 | 7 => Step::FirstToken(input.arbitrary::<u16>()?.into()),
        8 | 9 => Step::Complete(input.arbitrary::<u16>()?.into()),
        10 => Step::Progress(input.arbitrary::<u16>()?.into()),
        11 => Step::Forged(input.arbitrary()?),
        12 => Step::Pass(input.int_in_range(0..=DEADLINE * 2 / 3)?),
        _ => Step::Fork,
    })
}

fn eligibility_step(input: &mut Unstructured<'_>) -> Result<eligibility::Step> {
    use eligibility::{Demand, Step};
    let kind = input.int_in_range(0..=15)?;
    let any = input.arbitrary::<u8>()?.into();
    Ok(match kind {
        0 | 1 => Step::Add {
            role: *input.choose(&Role::ALL)?,
            group: *input.choose(&[None, Some(0), Some(1)])?,
            label: input.int_in_range(0..=2)?,
            limit: *input.choose(&[None, Some(1), Some(2)])?,
        },
        2 => Step::Remove(any),
        3 => Step::Drain(any, input.arbitrary()?),
        4 => Step::Health(any, input.arbitrary()?),
        5 => Step::Limit(any, *input.choose(&[None, Some(1), Some(2)])?),
        6 => Step::Policy(any),
        7 => Step::FirstToken(any),
        8 | 9 => Step::Complete(any),
        _ => {
            let demand = Demand {
                prompt: input.arbitrary()?,
                key: input.arbitrary()?,
                excluded: input.arbitrary()?,
                allowed: input.arbitrary()?,
                slots: input.arbitrary()?,
                label: *input.choose(&[None, None, Some(0), Some(1), Some(2)])?,
            };
            if kind < 14 { Step::Select(demand) } else { Step::SelectPair(demand) }
        }
    })
}
