//! The prefix tree beside the naive model: any operations, configurations and prompts.
//!
//! The first bytes choose the configuration; each operation takes a few more. Prompts are made of long
//! stretches of one symbol, of symbols that are all different, and of pieces of former prompts.
#![no_main]

#[path = "../../tests/support/reference_tree.rs"]
mod reference_tree;
#[allow(dead_code)]
#[path = "../../tests/models/tree.rs"]
mod tree;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tree::{Keys, Operation, Pair, Setting};

fuzz_target!(|input: &[u8]| {
    // Running out of input is the end of the operations.
    let _ = run(&mut Unstructured::new(input));
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let setting = Setting {
        // The least that a tree takes, a few sets, and room for everything.
        budget: *input.choose(&[40_000, 60_000, 1 << 20])?,
        slots: *input.choose(&[1, 2, 5, 16, 40, 70])?,
        capacity: *input.choose(&[None, Some(1), Some(7), Some(8), Some(62)])?,
        keys: *input.choose(&[Keys::Plain, Keys::SameTag, Keys::SameSets])?,
    };
    let mut pair = Pair::of(setting);
    let mut former = vec![Vec::new()];
    while !input.is_empty() {
        let slot = input.int_in_range(0..=setting.slots - 1)?;
        let operation = match input.int_in_range(0..=15)? {
            0 => Operation::Register { slot },
            1 => Operation::Unregister { slot },
            2 => Operation::Shrink { slot, capacity: input.int_in_range(1..=62)? },
            _ => Operation::Send { path: path(input, &mut former, setting.slots)?, slot },
        };
        pair.apply(&operation);
    }
    Ok(())
}

/// A prompt, kept to be built upon.
fn path(input: &mut Unstructured<'_>, former: &mut Vec<Vec<u8>>, slots: u16) -> Result<Vec<u8>> {
    let mut path = Vec::new();
    match input.int_in_range(0..=3)? {
        // New from its first block on.
        0 => {}
        // A prefix of a former one, or the whole and more.
        1 | 2 => {
            path = input.choose(former)?.clone();
            path.truncate(input.int_in_range(0..=path.len())?);
        }
        // All different.
        _ => path.extend(0..input.arbitrary::<u8>()?),
    }
    for _ in 0..input.int_in_range(0..=3)? {
        let (symbol, length) = (input.arbitrary()?, input.arbitrary::<u8>()?);
        path.resize(path.len() + usize::from(length), symbol);
    }
    // The naive tree walks every path for every slot.
    path.truncate(2000 / usize::from(slots).max(2));
    if former.len() < 64 {
        former.push(path.clone());
    }
    Ok(path)
}
