//! One hot path, a given number of times, and nothing else: what `./check instructions` counts.
//!
//! `instructions PATH COUNT`. Run twice with different counts, the difference is the path's own.

use std::hint::black_box;

use anyhow::{Result, bail};
use pointsman::body::{BodyOptions, read_body};
use pointsman::{Outcome, PolicyConfig, Request, Router, RouterConfig, Usage, WorkerSpec};

const PROMPT: usize = 4096;
const BODY: usize = 64 << 10;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, count] = &arguments[..] else { bail!("usage: instructions PATH COUNT") };
    let count = count.parse()?;
    match path.as_str() {
        "round_robin" | "power_of_two" => route(path, count, |_| ""),
        "cache_aware_hit" => {
            let prompts: Vec<String> = (0..64).map(prompt).collect();
            route("least_work", count, |i| &prompts[i % 64])
        }
        "cache_aware_miss" => {
            let prompts: Vec<String> = (0..count).map(prompt).collect();
            route("least_work", count, |i| &prompts[i])
        }
        "body_fingerprint" => fingerprint(count),
        _ => bail!("no path {path:?}"),
    }
}

/// A prompt that begins like no other.
fn prompt(number: usize) -> String {
    let mut prompt = format!("{number:016x}");
    prompt.extend(std::iter::repeat_n("so many words ", PROMPT / 14));
    prompt
}

/// Select and complete, with a tree that is full from the first requests on.
fn route<'p>(policy: &str, count: usize, prompt: impl Fn(usize) -> &'p str) -> Result<()> {
    let mut config = RouterConfig::default();
    config.policy = PolicyConfig::named(policy);
    config.tree.budget_bytes = 256 << 10;
    config.tree.hash_key = Some("07".repeat(32));
    config.max_tickets = 1024;
    let router = Router::new(config)?;
    for i in 0..16 {
        router.at(0).add_worker(WorkerSpec::new(format!("w{i}")))?;
    }
    let mut sum = 0;
    for i in 0..count {
        let now = 1_000_000 + 1000 * i as u64;
        let selection = router.at(now).select(&Request::text(prompt(i)))?;
        sum += selection.worker().to_raw();
        router.at(now + 500).complete(selection, Outcome::Success, Usage::default())?;
    }
    black_box(sum);
    Ok(())
}

/// The fingerprint of a chat body of 64 KiB.
fn fingerprint(count: usize) -> Result<()> {
    let router = Router::new(RouterConfig::default())?;
    let mut body = br#"{"model":"m","messages":[{"role":"user","content":""#.to_vec();
    body.extend(std::iter::repeat_n(b"so many words ", BODY / 14).flatten());
    body.extend_from_slice(br#""}],"stream":true}"#);
    let mut hashes = [0; 1024];
    for _ in 0..count {
        let print = read_body(router.hash_key(), BodyOptions::default(), &body, &mut hashes)?;
        black_box(&print);
    }
    Ok(())
}
