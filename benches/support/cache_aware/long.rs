//! The longest prompts, 4 MiB of text and 1,048,576 tokens: deciding and remembering, beside hashing.

use std::hint::black_box;
use std::time::Instant;

use pointsman::Request;
use pointsman::prefix::{Fingerprinter, HashKey, Unit};

use super::super::bars::{Bar, Limit};
use super::super::fleet::{Fleet, MIB};
use super::super::samples::{Samples, Thoroughness};

/// Tokens, or a quarter of the bytes.
const LONGEST: usize = 1 << 20;
/// Prompts per sample.
const PROMPTS: usize = 8;

/// Each prompt twice: new, and once it is known.
pub fn measure(thoroughness: Thoroughness) -> Vec<Bar> {
    let mut tokens: Vec<u32> = (0..LONGEST as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
    let mut text: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    let key = HashKey::from_bytes([7; 32]);
    let mut blocks = vec![0; 4 * LONGEST / 128];
    let mut fleet = Fleet::new(16, 64 * MIB);
    let mut samples = Samples::default();
    let mut number = 0;
    // The first fills the tree, and takes its memory.
    for round in 0..=thoroughness.rounds {
        for _ in 0..PROMPTS {
            number += 1;
            tokens[0] = number;
            text[..4].copy_from_slice(&number.to_be_bytes());
            let mut note = |name: &str, time: f64| {
                if round > 0 {
                    samples.note(name, time);
                }
            };
            for kind in ["new", "known"] {
                note(&format!("text, {kind}"), time(|| _ = fleet.serve(&Request::bytes(&text))));
                note(
                    &format!("tokens, {kind}"),
                    time(|| _ = fleet.serve(&Request::tokens(&tokens))),
                );
            }
            note(
                "text, hashing",
                time(|| {
                    let mut printer =
                        Fingerprinter::new(&key, Unit::Text, Default::default(), &mut blocks);
                    printer.push(black_box(&text));
                    black_box(printer.finish(1, 2));
                }),
            );
            note(
                "tokens, hashing",
                time(|| {
                    let mut printer =
                        Fingerprinter::new(&key, Unit::Tokens, Default::default(), &mut blocks);
                    printer.push_tokens(black_box(&tokens));
                    black_box(printer.finish(1, 2));
                }),
            );
        }
    }
    for name in samples.names() {
        println!("{:<44}{:>30} ns", format!("longest prompt: {name}"), samples.figure(name));
    }
    let bar = |what: &str, most| {
        let ratio = |unit: &str| {
            let (whole, hashing) = (format!("{unit}, {what}"), format!("{unit}, hashing"));
            (unit.to_owned(), samples.ratio(&whole, &hashing))
        };
        Bar {
            what: format!("long: selection over hashing, {what} prompt"),
            limit: Limit::AtMost(most),
            figures: vec![ratio("text"), ratio("tokens")],
        }
    };
    vec![bar("new", 4.0), bar("known", 2.0)]
}

/// Nanoseconds that it takes.
fn time(call: impl FnOnce()) -> f64 {
    let start = Instant::now();
    call();
    start.elapsed().as_nanos() as f64
}
