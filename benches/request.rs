//! From a chat body to a fingerprint: beside hashing the same bytes, and beside parsing them.
//!
//! `cargo bench --bench request`. Each figure is the median of interleaved runs, followed by the lowest
//! and the highest.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

mod support;

use std::hint::black_box;
use std::time::Instant;

use pointsman::body::{BodyOptions, BodyReader, read_value};
use pointsman::prefix::{Fingerprinter, HashKey, Unit};
use serde_json::Value;
use support::allocations::{Counting, Counts};
use support::bodies::{CHINESE, CODE, ENGLISH, Words, agent, chat, tokens};

#[global_allocator]
static ALLOCATOR: Counting = Counting { live: false, refuses: false };

const RUNS: usize = 41;
/// Bytes that one run reads.
const RUN_BYTES: usize = 1 << 19;
/// As many blocks as a router keeps.
const BLOCKS: usize = 16 << 10;

const KIB: usize = 1 << 10;

/// What is measured over one body.
struct Row {
    name: String,
    body: Vec<u8>,
    /// Whether the bars are stated for this one.
    has_bar: bool,
}

/// Median, lowest and highest of the runs.
#[derive(Clone, Copy)]
struct Figure {
    median: f64,
    low: f64,
    high: f64,
}

fn main() {
    println!("{RUNS} interleaved runs; GB/s of body bytes: median (lowest to highest)\n");
    println!(
        "{:<22} {:>24} {:>24} {:>21} {:>18} {:>6}",
        "body",
        "to fingerprint",
        "plain hashing",
        "serde_json::Value",
        "Value to fingerpr.",
        "allocs"
    );
    for row in rows() {
        measure(&row);
    }
}

fn measure(row: &Row) {
    let key = HashKey::from_bytes([7; 32]);
    let mut out = vec![0; BLOCKS];
    let body = &row.body;
    let value: Value = serde_json::from_slice(body).unwrap();

    let before = Counts::now().allocations;
    read(&key, body, &mut out);
    let allocations = Counts::now().allocations - before;

    let mut speeds = [const { Vec::new() }; 4];
    for _ in 0..RUNS {
        speeds[0].push(speed(body, || read(&key, body, &mut out)));
        speeds[1].push(speed(body, || hash(&key, body, &mut out)));
        speeds[2].push(speed(body, || {
            black_box(serde_json::from_slice::<Value>(black_box(body)).is_ok());
        }));
        speeds[3].push(speed(body, || {
            black_box(read_value(&key, BodyOptions::default(), &value, &mut out).is_ok());
        }));
    }
    let [read, hash, parse, walk] = speeds.map(Figure::of);
    println!(
        "{:<22} {:>24} {:>24} {:>21} {:>18} {:>6}",
        row.name,
        read.to_string(),
        hash.to_string(),
        parse.to_string(),
        walk.to_string(),
        allocations
    );
    let (of_hashing, times_parsing) = (hash.median / read.median, read.median / parse.median);
    let limit = hash.median / parse.median;
    print!(
        "{:<22} 1/{of_hashing:.1} of hashing, {times_parsing:.1} times parsing (hashing alone: {limit:.1})",
        ""
    );
    if row.has_bar {
        print!(
            "; bars 1/18: {}, 5 times: {}, no allocation: {}",
            verdict(of_hashing <= 18.0),
            verdict(times_parsing >= 5.0),
            verdict(allocations == 0)
        );
    }
    println!();
}

fn verdict(meets: bool) -> &'static str {
    if meets { "meets" } else { "falls short" }
}

fn read(key: &HashKey, body: &[u8], out: &mut [u64]) {
    let mut reader = BodyReader::new(key, BodyOptions::default(), out);
    black_box(reader.push(black_box(body)).is_ok());
    black_box(reader.finish().is_ok());
}

fn hash(key: &HashKey, body: &[u8], out: &mut [u64]) {
    let mut fingerprinter = Fingerprinter::new(key, Unit::Text, Default::default(), out);
    fingerprinter.push(black_box(body));
    black_box(fingerprinter.finish(1, 2));
}

/// GB/s of `work` over `body`.
fn speed(body: &[u8], mut work: impl FnMut()) -> f64 {
    let times = (RUN_BYTES / body.len()).max(1);
    let start = Instant::now();
    for _ in 0..times {
        work();
    }
    (body.len() * times) as f64 / start.elapsed().as_nanos() as f64
}

impl Figure {
    fn of(mut runs: Vec<f64>) -> Figure {
        runs.sort_by(f64::total_cmp);
        Figure { median: runs[runs.len() / 2], low: runs[0], high: runs[runs.len() - 1] }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = if self.median < 1.0 { 3 } else { 1 };
        write!(f, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.low, self.high)
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, bytes) in
        [("1 KiB", KIB), ("16 KiB", 16 * KIB), ("64 KiB", 64 * KIB), ("1 MiB", KIB * KIB)]
    {
        let body = chat(bytes, Words::new(ENGLISH, 12));
        rows.push(Row { name: format!("chat {name}"), body, has_bar: bytes == 64 * KIB });
    }
    let others = [
        ("code 64 KiB", chat(64 * KIB, Words::new(CODE, 5))),
        ("Chinese 64 KiB", chat(64 * KIB, Words::new(CHINESE, 40))),
        ("agent, 64 KiB of tools", agent(64 * KIB)),
        ("tokens 64 KiB", tokens(64 * KIB)),
    ];
    for (name, body) in others {
        rows.push(Row { name: name.to_owned(), body, has_bar: false });
    }
    rows
}
