//! From a chat body to a fingerprint: beside hashing the same bytes, and beside parsing them.
//!
//! `cargo bench --bench request`. Each figure is the median of interleaved runs, with the lowest
//! and the highest one behind it.
#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pointsman::prefix::{Fingerprinter, HashKey, Unit};
use pointsman::request::body::{BodyOptions, BodyReader, read_value};
use serde_json::{Value, json};

/// Counts what is allocated and reallocated.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as this function's own contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as this function's own contract.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as this function's own contract.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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

    let before = ALLOCATIONS.load(Ordering::Relaxed);
    read(&key, body, &mut out);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;

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

const ENGLISH: &str = "the train leaves at nine from a small station near the river and nobody \
    knows which track it will take because signals were changed during night \"so\" we wait";
const CODE: &str = "let self.next = fn push(&mut self) -> Result<(), Error> { return Err(\"no\") } \
    if x == 0 {\t for i in 0..n \\d+ // comment";
const CHINESE: &str =
    "火车 九点 从 小站 出发 没有 人 知道 它 会 走 哪 条 轨道 因为 信号 在 夜里 改变 了";

/// Words of a text in a random but fixed order, with line breaks.
struct Words {
    words: Vec<&'static str>,
    per_line: usize,
    state: u64,
}

impl Words {
    fn new(text: &'static str, per_line: usize) -> Words {
        Words { words: text.split(' ').collect(), per_line, state: 1 }
    }

    fn text(&mut self, bytes: usize) -> String {
        let mut text = String::new();
        for count in 1.. {
            if text.len() >= bytes {
                break;
            }
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(self.words[(self.state >> 33) as usize % self.words.len()]);
            text.push(if count % self.per_line == 0 { '\n' } else { ' ' });
        }
        text
    }
}

/// A conversation: a system prompt of a quarter, then turns of about 600 bytes.
fn chat(bytes: usize, mut words: Words) -> Vec<u8> {
    let mut messages = vec![json!({"role": "system", "content": words.text(bytes / 4)})];
    let mut length = 0;
    for turn in 0.. {
        if length >= bytes * 3 / 4 - 100 {
            break;
        }
        let role = if turn % 2 == 0 { "user" } else { "assistant" };
        messages.push(json!({"role": role, "content": words.text(600.min(bytes / 4))}));
        length += 600.min(bytes / 4) + 32;
    }
    json!({
        "model": "some/model-70B", "messages": messages, "temperature": 0.7, "top_p": 0.95,
        "max_tokens": 1024, "stream": true, "stop": ["</s>"], "user": "u-1",
    })
    .to_string()
    .into_bytes()
}

/// A short question behind so many bytes of tool declarations.
fn agent(bytes: usize) -> Vec<u8> {
    let mut words = Words::new(ENGLISH, 1000);
    let tools: Vec<Value> = (0..bytes / 512)
        .map(|number| {
            json!({"type": "function", "function": {
                "name": format!("tool_{number}"), "description": words.text(220),
                "parameters": {"type": "object", "properties": {
                    "path": {"type": "string", "description": words.text(60)},
                    "limit": {"type": "integer", "minimum": 0},
                }, "required": ["path"]},
            }})
        })
        .collect();
    json!({"model": "m", "tools": tools, "messages": [{"role": "user", "content": "Go on."}]})
        .to_string()
        .into_bytes()
}

fn tokens(bytes: usize) -> Vec<u8> {
    let tokens: Vec<u32> =
        (0..bytes as u32 / 6).map(|token| token * 7919 % 100_000 + 10_000).collect();
    json!({"input_ids": tokens, "sampling_params": {"max_new_tokens": 64}}).to_string().into_bytes()
}
