//! JSONL of OpenAI request bodies with a `timestamp` in seconds: either the body itself with a
//! `timestamp` beside its fields, or `{"timestamp", "body", ...}` as batch files and access logs
//! have it. `output_tokens`, the body's `max_completion_tokens` or `max_tokens`, or 256 gives the
//! length of the answer.
//!
//! Without a tokenizer, four bytes count as one token. Tools come first, as engines render them.

use std::hash::{DefaultHasher, Hasher};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{RawRequest, Trace, TraceBuilder};

const BLOCK_TOKENS: u32 = 32;
const BYTES_PER_TOKEN: usize = 4;
const DEFAULT_OUTPUT: u64 = 256;

/// Parses (line number, text) pairs.
pub(crate) fn parse<'a>(
    lines: impl Iterator<Item = (usize, &'a str)>,
    name: &str,
    file: &str,
) -> Result<Trace> {
    let mut raw = Vec::new();
    for (number, text) in lines {
        raw.push(line(text).with_context(|| format!("{file}:{number}"))?);
    }
    let start =
        raw.iter().map(|request: &RawRequest| request.arrival).fold(f64::INFINITY, f64::min);
    let mut builder = TraceBuilder::new(name, BLOCK_TOKENS);
    for request in raw {
        builder.push(RawRequest { arrival: request.arrival - start, ..request });
    }
    Ok(builder.build())
}

/// Whether a line's object can be one of this format.
pub(crate) fn recognises(line: &Value) -> bool {
    ["body", "messages", "prompt", "input"].iter().any(|key| line.get(key).is_some())
}

fn line(text: &str) -> Result<RawRequest> {
    let line: Value = serde_json::from_str(text)?;
    let Some(arrival) = line.get("timestamp").and_then(Value::as_f64) else {
        bail!("\"timestamp\" must be a number of seconds");
    };
    let body = line.get("body").unwrap_or(&line);
    let prompt = prompt(body)?;
    let output = ["output_tokens"].iter().find_map(|key| line.get(key)?.as_u64());
    let limit = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
    let output = output.or_else(|| limit.iter().find_map(|key| body.get(key)?.as_u64()));
    Ok(RawRequest {
        arrival,
        input: u32::try_from(prompt.len().div_ceil(BYTES_PER_TOKEN))
            .context("the prompt is too long")?,
        output: u32::try_from(output.unwrap_or(DEFAULT_OUTPUT))
            .context("too many output tokens")?,
        blocks: blocks(prompt.as_bytes()),
        ..RawRequest::default()
    })
}

/// The prompt as an engine's template would order it.
fn prompt(body: &Value) -> Result<String> {
    let mut prompt = String::new();
    if let Some(tools) = body.get("tools") {
        prompt.push_str(&tools.to_string());
    }
    for key in ["instructions", "prompt", "input"] {
        if let Some(value) = body.get(key) {
            append(&mut prompt, value);
        }
    }
    if let Some(Value::Array(messages)) = body.get("messages") {
        for message in messages {
            append(&mut prompt, message);
        }
    }
    if prompt.is_empty() {
        bail!("the body has no \"messages\", \"prompt\" or \"input\"");
    }
    Ok(prompt)
}

fn append(prompt: &mut String, value: &Value) {
    match value {
        Value::String(text) => prompt.push_str(text),
        Value::Array(parts) => parts.iter().for_each(|part| append(prompt, part)),
        Value::Object(fields) => {
            for key in ["role", "text", "content", "tool_calls"] {
                if let Some(field) = fields.get(key) {
                    prompt.push('\n');
                    append(prompt, field);
                }
            }
        }
        other => prompt.push_str(&other.to_string()),
    }
}

/// Chained hashes of the full blocks.
fn blocks(prompt: &[u8]) -> Vec<u64> {
    let mut hasher = DefaultHasher::new();
    let mut chain = |block: &[u8]| {
        hasher.write(block);
        hasher.finish()
    };
    prompt.chunks_exact(BLOCK_TOKENS as usize * BYTES_PER_TOKEN).map(&mut chain).collect()
}
