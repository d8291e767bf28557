//! From an OpenAI chat body to a selection.

use std::hint::black_box;
use std::time::Instant;

use pointsman::Request;
use pointsman::prefix::{Fingerprinter, HashKey, Unit};

use super::super::bars::{Bar, Limit};
use super::super::bodies::{ENGLISH, Words, chat};
use super::super::fleet::{Fleet, MIB};
use super::super::samples::{Samples, Thoroughness};

const KIB: usize = 1 << 10;
/// Passes over the body per sample.
const TIMES: usize = 50;

/// Beside hashing the same bytes, and beside parsing them.
pub fn measure(thoroughness: Thoroughness) -> Vec<Bar> {
    let body = chat(64 * KIB, Words::new(ENGLISH, 12));
    let mut fleet = Fleet::new(16, 64 * MIB);
    let key = HashKey::from_bytes([7; 32]);
    let mut blocks = vec![0; 1024];
    let mut samples = Samples::default();
    // Short samples, so many of them.
    for _ in 0..4 * thoroughness.rounds {
        samples.note("to a selection", time(|| _ = fleet.serve(&Request::json(&body))));
        samples.note(
            "plain hashing",
            time(|| {
                let mut printer =
                    Fingerprinter::new(&key, Unit::Text, Default::default(), &mut blocks);
                printer.push(black_box(&body));
                black_box(printer.finish(1, 2));
            }),
        );
        samples.note(
            "serde_json::Value",
            time(|| {
                let value = serde_json::from_slice::<serde_json::Value>(black_box(&body));
                black_box(value.is_ok());
            }),
        );
    }
    for name in samples.names() {
        println!("{:<44}{:>30} ns", format!("64 KiB chat body: {name}"), samples.figure(name));
    }
    let hashing = samples.ratio("to a selection", "plain hashing");
    let parsing = samples.ratio("serde_json::Value", "to a selection");
    vec![
        Bar::new("body: selection over plain hashing", Limit::AtMost(18.0), hashing),
        Bar::new("body: serde_json::Value over selection", Limit::AtLeast(5.0), parsing),
    ]
}

/// Nanoseconds of one of many calls.
fn time(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..TIMES).for_each(|_| call());
    start.elapsed().as_nanos() as f64 / TIMES as f64
}
