//! The lab's own format: a header line, then one JSON object per line, plain or gzip.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{RawRequest, Trace, TraceBuilder};

/// `{"name", "block", "n"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) block: u32,
    #[serde(default)]
    pub(crate) n: Option<usize>,
}

#[derive(Deserialize)]
struct Line {
    t: f64,
    #[serde(rename = "in")]
    input: u32,
    out: u32,
    b: Vec<u64>,
    #[serde(default)]
    ob: Option<Vec<u64>>,
    #[serde(default)]
    dep: Option<usize>,
    #[serde(default)]
    gap: f64,
}

/// Parses the lines after a header. `lines` yields (line number, text).
pub(crate) fn parse<'a>(
    header: &Header,
    lines: impl Iterator<Item = (usize, &'a str)>,
    file: &str,
) -> Result<Trace> {
    if header.block == 0 {
        bail!("{file}:1: \"block\" must be at least 1");
    }
    let mut builder = TraceBuilder::new(&header.name, header.block);
    for (number, text) in lines {
        let raw = line(text, builder.len()).with_context(|| format!("{file}:{number}"))?;
        builder.push(raw);
    }
    let found = builder.len();
    if let Some(announced) = header.n.filter(|&n| n != found) {
        bail!("{file}:1: the header announces {announced} requests, the file has {found}");
    }
    Ok(builder.build())
}

fn line(text: &str, index: usize) -> Result<RawRequest> {
    let line: Line = serde_json::from_str(text)?;
    if !line.t.is_finite() || line.t < 0.0 {
        bail!("\"t\" must be a time in seconds, not {}", line.t);
    }
    if line.input == 0 {
        bail!("\"in\" must be at least one token");
    }
    if !line.gap.is_finite() || line.gap < 0.0 {
        bail!("\"gap\" must be a time in seconds, not {}", line.gap);
    }
    if line.dep.is_some_and(|dep| dep >= index) {
        bail!("\"dep\" must name an earlier request");
    }
    Ok(RawRequest {
        arrival: line.t,
        input: line.input,
        output: line.out,
        blocks: line.b,
        output_blocks: line.ob,
        after: line.dep,
        gap: line.gap,
    })
}
