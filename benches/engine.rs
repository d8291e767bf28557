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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use allocations::{Counting, Counts};
use measure::Figure;
use pointsman::engine::{CacheMeter, KvEvent, KvStream, Source};
use pointsman::{Outcome, Request, Router, RouterConfig, Usage, WorkerId, WorkerSpec};

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
    let begun = computed();
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
    (computed() - begun) / blocks as f64
}

/// Selections that one round times.
const SELECTIONS: usize = 4_000;

/// A router with a prompt's worth of choice, and prompts that share beginnings.
fn router() -> (Router, Vec<WorkerId>, Vec<String>) {
    let router = Router::new(RouterConfig::default()).expect("the default configuration");
    let add = |i| router.add_worker(WorkerSpec::new(format!("http://{i}"))).expect("a new worker");
    let workers = (0..8).map(add).collect();
    let text = |i: usize| format!("{:04}", i % 40).repeat(800) + &format!("{i:08}").repeat(100);
    (router, workers, (0..400).map(text).collect())
}

/// What this thread has computed so far, in nanoseconds: waits for a processor are not in it.
fn computed() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is this function's own.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Nanoseconds that a selection with its completion computes, on average; and how long one of a hundred
/// takes at least.
fn select(router: &Router, prompts: &[String]) -> (f64, f64) {
    let mut times = Vec::with_capacity(SELECTIONS);
    let begun = computed();
    for i in 0..SELECTIONS {
        let start = Instant::now();
        let selection =
            router.select(&Request::text(&prompts[i % prompts.len()])).expect("a worker");
        selection.complete(Outcome::Success, Usage::default()).expect("an open ticket");
        times.push(start.elapsed().as_nanos() as f64);
    }
    let mean = (computed() - begun) / SELECTIONS as f64;
    times.sort_by(f64::total_cmp);
    (mean, times[SELECTIONS - SELECTIONS / 100])
}

/// Selections beside a thread that hears events of one worker without a pause, as ratios to selections
/// beside none, within one round.
fn beside_a_burst() {
    let (router, workers, prompts) = router();
    let payload = batch(64, |out, at| stored(out, 1, 16, at));
    let (running, messages) = (AtomicBool::new(false), AtomicU64::new(0));
    let done = AtomicBool::new(false);
    let hear = || {
        let (mut stream, mut meter) = (KvStream::new(), CacheMeter::new());
        for sequence in 0.. {
            while !running.load(Relaxed) {
                if done.load(Relaxed) {
                    return;
                }
                std::thread::yield_now();
            }
            let frames: [&[u8]; 2] = [&u64::to_be_bytes(sequence), &payload];
            stream.feed(Source::Live, &frames, |event| meter.hear(&event)).expect("a batch");
            router.report_cache(workers[0], &mut meter).expect("a worker");
            messages.fetch_add(1, Relaxed);
        }
    };
    let (mut means, mut slowest, mut events) = (Vec::new(), Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(hear);
        select(&router, &prompts);
        for _ in 0..ROUNDS {
            let alone = select(&router, &prompts);
            let before = messages.load(Relaxed);
            let start = Instant::now();
            running.store(true, Relaxed);
            let beside = select(&router, &prompts);
            running.store(false, Relaxed);
            let heard = (messages.load(Relaxed) - before) * 64;
            events.push(heard as f64 / start.elapsed().as_secs_f64() / 1e6);
            means.push(beside.0 / alone.0);
            slowest.push(beside.1 / alone.1);
        }
        done.store(true, Relaxed);
    });
    let figure = |values| Figure::of(values).expect("rounds").to_string();
    println!(
        "beside a thread that hears {} million events a second and reports each 64:",
        figure(events)
    );
    println!("  work of a selection, ratio to one beside none  {:>24}", figure(means));
    println!("  time of the slowest of a hundred, the same     {:>24}", figure(slowest));
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
    beside_a_burst();
}
