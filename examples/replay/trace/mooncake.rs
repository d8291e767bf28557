//! Mooncake's JSONL: `timestamp` in milliseconds, `input_length`, `output_length` in tokens,
//! `hash_ids` of blocks of 512 tokens (github.com/kvcache-ai/Mooncake, FAST25-release/traces).

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{RawRequest, Trace, TraceBuilder};

const BLOCK_TOKENS: u32 = 512;

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

/// Parses (line number, text) pairs. A block that the prompt fills only partly is not shared.
pub(crate) fn parse<'a>(
    lines: impl Iterator<Item = (usize, &'a str)>,
    name: &str,
    file: &str,
) -> Result<Trace> {
    let mut builder = TraceBuilder::new(name, BLOCK_TOKENS);
    for (number, text) in lines {
        builder.push(line(text).with_context(|| format!("{file}:{number}"))?);
    }
    Ok(builder.build())
}

fn line(text: &str) -> Result<RawRequest> {
    let line: Line = serde_json::from_str(text)?;
    if !line.timestamp.is_finite() || line.timestamp < 0.0 {
        bail!("\"timestamp\" must be a time in milliseconds, not {}", line.timestamp);
    }
    if line.input_length == 0 {
        bail!("\"input_length\" must be at least one token");
    }
    Ok(RawRequest {
        arrival: line.timestamp / 1000.0,
        input: line.input_length,
        output: line.output_length,
        blocks: line.hash_ids,
        ..RawRequest::default()
    })
}
