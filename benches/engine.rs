//! What engines say: how many block events a second one core decodes, and what it allocates.
//!
//! `cargo bench --bench engine`: nanoseconds per block, the median over rounds and the quartiles. A block is
//! decoded when its hash and all its tokens have been handed out.

#![allow(clippy::expect_used, reason = "a benchmark may panic")]

#[path = "../tests/support/counting.rs"]
mod allocations;
#[allow(dead_code, reason = "a part is used")]
#[path = "support/measure.rs"]
mod measure;

use std::hint::black_box;
use std::time::Instant;

use allocations::{Counting, Counts};
use measure::Figure;
use pointsman::engine::{KvEvent, KvStream, Source};

#[global_allocator]
static ALLOCATOR: Counting = Counting { live: false, refuses: false };

const ROUNDS: usize = 41;
/// Blocks per round.
const BLOCKS: usize = 200_000;

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(0xa0 | text.len() as u8);
    out.extend(text.as_bytes());
}

fn entry(out: &mut Vec<u8>, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    text(out, key);
    value(out);
}

fn list(out: &mut Vec<u8>, length: usize) {
    out.push(0xdc);
    out.extend((length as u16).to_be_bytes());
}

fn hash(out: &mut Vec<u8>, hash: u64) {
    out.push(0xcf);
    out.extend(hash.to_be_bytes());
}

/// An event of vLLM 0.32, byte for byte of its form, that stores `blocks` of `size` tokens, each a number
/// of three bytes as most of a real vocabulary are.
fn stored(out: &mut Vec<u8>, blocks: usize, size: usize, first: u64) {
    out.push(0x8b);
    entry(out, "type", |out| text(out, "BlockStored"));
    entry(out, "block_hashes", |out| {
        list(out, blocks);
        (0..blocks as u64).for_each(|block| hash(out, first.wrapping_add(block << 40)));
    });
    entry(out, "parent_block_hash", |out| hash(out, first ^ 1));
    entry(out, "token_ids", |out| {
        list(out, blocks * size);
        (0..blocks * size).for_each(|token| {
            out.push(0xcd);
            out.extend((300 + token as u16 % 60_000).to_be_bytes());
        });
    });
    entry(out, "block_size", |out| out.push(size as u8));
    entry(out, "lora_id", |out| out.push(0xc0));
    entry(out, "medium", |out| text(out, "GPU"));
    entry(out, "lora_name", |out| out.push(0xc0));
    entry(out, "extra_keys", |out| {
        list(out, blocks);
        out.extend(vec![0xc0; blocks]);
    });
    entry(out, "group_idx", |out| out.push(0));
    entry(out, "kv_cache_spec_kind", |out| text(out, "full_attention"));
}

fn removed(out: &mut Vec<u8>, first: u64) {
    out.push(0x84);
    entry(out, "type", |out| text(out, "BlockRemoved"));
    entry(out, "block_hashes", |out| {
        list(out, 1);
        hash(out, first);
    });
    entry(out, "medium", |out| text(out, "GPU"));
    entry(out, "group_idx", |out| out.push(0));
}

/// A batch of so many events.
fn batch(events: usize, mut event: impl FnMut(&mut Vec<u8>, u64)) -> Vec<u8> {
    let mut out = vec![0x93, 0xcb, 0x41, 0xda, 0xc2, 0x36, 0xa1, 0xe0, 0x91, 0x3c];
    list(&mut out, events);
    (0..events as u64).for_each(|i| event(&mut out, (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    out.push(0);
    out
}

/// Decodes the payload until [`BLOCKS`] blocks have come; nanoseconds per block.
fn round(stream: &mut KvStream, sequence: &mut u64, payload: &[u8]) -> f64 {
    let (mut blocks, mut sum) = (0, 0);
    let start = Instant::now();
    while blocks < BLOCKS {
        let frames: [&[u8]; 3] = [b"kv-events", &sequence.to_be_bytes(), payload];
        let fed = stream.feed(Source::Live, &frames, |event| match event {
            KvEvent::Stored(stored) => {
                blocks += stored.hashes.len();
                sum ^= stored.hashes.iter().fold(0, |sum, hash| sum ^ hash);
                sum ^= stored.tokens.iter().fold(0, |sum, token| sum + u64::from(token.id));
            }
            KvEvent::Removed(removed) => {
                blocks += removed.hashes.len();
                sum ^= removed.hashes.iter().fold(0, |sum, hash| sum ^ hash);
            }
            _ => {}
        });
        assert_eq!(fed.expect("a batch").refused, 0);
        *sequence += 1;
    }
    black_box(sum);
    start.elapsed().as_nanos() as f64 / blocks as f64
}

fn main() {
    let cases = [
        ("stored, 16 tokens, one block an event", batch(64, |out, at| stored(out, 1, 16, at))),
        ("stored, 16 tokens, 32 blocks an event", batch(4, |out, at| stored(out, 32, 16, at))),
        ("stored, 64 tokens, 32 blocks an event", batch(4, |out, at| stored(out, 32, 64, at))),
        ("removed, one block an event", batch(256, removed)),
    ];
    let (mut stream, mut sequence) = (KvStream::new(), 0);
    let mut samples = vec![Vec::new(); cases.len()];
    let mut turn = |samples: &mut Vec<Vec<f64>>| {
        for ((_, payload), samples) in cases.iter().zip(samples) {
            samples.push(round(&mut stream, &mut sequence, payload));
        }
    };
    turn(&mut samples);
    samples.iter_mut().for_each(|samples| samples.reserve(ROUNDS));
    let before = Counts::now();
    (0..ROUNDS).for_each(|_| turn(&mut samples));
    let (allocations, _) = Counts::now().per_operation(before, 1);
    println!("{:<42}{:>24}{:>18}", "", "ns per block", "million a second");
    for ((name, _), samples) in cases.iter().zip(&samples) {
        let figure = Figure::of(samples.clone()).expect("rounds");
        println!("{name:<42}{:>24}{:>18.1}", figure.to_string(), 1e3 / figure.median);
    }
    println!("allocations: {allocations}");
}
