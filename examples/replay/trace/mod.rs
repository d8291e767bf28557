//! Traces: what is asked, when, and which prompts share which prefix.

pub(crate) mod mooncake;
pub(crate) mod native;
pub(crate) mod openai;
pub(crate) mod synthetic;

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// One request of a trace.
#[derive(Clone, Debug)]
pub(crate) struct TraceRequest {
    /// Arrival, seconds from the trace's start, before any scaling.
    pub(crate) arrival: f64,
    /// Prompt length, tokens.
    pub(crate) input: u32,
    /// Generated tokens.
    pub(crate) output: u32,
    /// The request that must finish first.
    pub(crate) after: Option<usize>,
    /// Think time after it, seconds.
    pub(crate) gap: f64,
    blocks: Range<usize>,
    input_blocks: usize,
}

/// A trace with its block ids made dense.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// Name for tables.
    pub(crate) name: String,
    /// Tokens per block.
    pub(crate) block: u32,
    /// Requests by arrival.
    pub(crate) requests: Vec<TraceRequest>,
    /// Number of block ids, outputs included.
    pub(crate) ids: usize,
    /// Number of distinct blocks among the prompts.
    pub(crate) distinct_input: usize,
    pool: Vec<u32>,
}

impl Trace {
    /// Full blocks of the prompt.
    pub(crate) fn input_blocks(&self, id: usize) -> &[u32] {
        let request = &self.requests[id];
        &self.pool[request.blocks.start..request.blocks.start + request.input_blocks]
    }

    /// Full blocks of the prompt followed by those that the output completes.
    pub(crate) fn all_blocks(&self, id: usize) -> &[u32] {
        &self.pool[self.requests[id].blocks.clone()]
    }

    /// Makes every answer so many times as long, with blocks of its own where it is longer.
    pub(crate) fn stretch_outputs(&mut self, factor: f64) {
        let old = std::mem::take(&mut self.pool);
        for request in &mut self.requests {
            request.output = ((f64::from(request.output) * factor).round() as u32).max(1);
            let known = &old[request.blocks.clone()];
            let total = u64::from(request.input) + u64::from(request.output);
            let whole = ((total / u64::from(self.block)) as usize).max(request.input_blocks);
            let start = self.pool.len();
            self.pool.extend(known.iter().take(whole));
            for _ in known.len()..whole {
                self.pool.push(self.ids as u32);
                self.ids += 1;
            }
            request.blocks = start..self.pool.len();
        }
    }

    /// Tokens of all prompts.
    pub(crate) fn input_tokens(&self) -> u64 {
        self.requests.iter().map(|request| u64::from(request.input)).sum()
    }

    /// Generated tokens of all requests.
    pub(crate) fn output_tokens(&self) -> u64 {
        self.requests.iter().map(|request| u64::from(request.output)).sum()
    }
}

/// One line of any format, before block ids are made dense.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawRequest {
    pub(crate) arrival: f64,
    pub(crate) input: u32,
    pub(crate) output: u32,
    pub(crate) blocks: Vec<u64>,
    pub(crate) output_blocks: Option<Vec<u64>>,
    pub(crate) after: Option<usize>,
    pub(crate) gap: f64,
}

/// Collects raw requests into a [`Trace`].
pub(crate) struct TraceBuilder {
    name: String,
    block: u32,
    dense: HashMap<u64, u32>,
    ids: u32,
    requests: Vec<TraceRequest>,
    pool: Vec<u32>,
}

impl TraceBuilder {
    pub(crate) fn new(name: impl Into<String>, block: u32) -> Self {
        Self {
            name: name.into(),
            block: block.max(1),
            dense: HashMap::new(),
            ids: 0,
            requests: Vec::new(),
            pool: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Adds a request. Only full prompt blocks are kept: an engine shares no partial block. Where
    /// the trace does not name the blocks that the output completes, they are unique.
    pub(crate) fn push(&mut self, raw: RawRequest) {
        let start = self.pool.len();
        let full = (raw.input / self.block) as usize;
        for &block in raw.blocks.iter().take(full) {
            let id = self.dense_id(block);
            self.pool.push(id);
        }
        let input_blocks = self.pool.len() - start;
        match raw.output_blocks {
            Some(blocks) => {
                for block in blocks {
                    let id = self.dense_id(block);
                    self.pool.push(id);
                }
            }
            None => {
                let total = u64::from(raw.input) + u64::from(raw.output);
                let made = (total / u64::from(self.block)) as usize - full;
                for _ in 0..made {
                    self.pool.push(self.ids);
                    self.ids += 1;
                }
            }
        }
        self.requests.push(TraceRequest {
            arrival: raw.arrival,
            input: raw.input.max(1),
            output: raw.output.max(1),
            after: raw.after,
            gap: raw.gap,
            blocks: start..self.pool.len(),
            input_blocks,
        });
    }

    /// The trace, sorted by arrival unless requests depend on each other by index.
    pub(crate) fn build(mut self) -> Trace {
        if self.requests.iter().all(|request| request.after.is_none()) {
            self.requests.sort_by(|a, b| a.arrival.total_cmp(&b.arrival));
        }
        let mut seen = vec![false; self.ids as usize];
        for request in &self.requests {
            let start = request.blocks.start;
            for &block in &self.pool[start..start + request.input_blocks] {
                seen[block as usize] = true;
            }
        }
        Trace {
            name: self.name,
            block: self.block,
            requests: self.requests,
            ids: self.ids as usize,
            distinct_input: seen.iter().filter(|&&seen| seen).count(),
            pool: self.pool,
        }
    }

    fn dense_id(&mut self, block: u64) -> u32 {
        *self.dense.entry(block).or_insert_with(|| {
            let id = self.ids;
            self.ids += 1;
            id
        })
    }
}

/// Reads a trace file, plain or gzip; its first line tells the format.
pub(crate) fn load(path: &Path) -> Result<Trace> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {file}"))?;
    parse(&bytes, &file)
}

/// Parses the contents of a trace file, plain or gzip; `file` names it in errors.
pub(crate) fn parse(bytes: &[u8], file: &str) -> Result<Trace> {
    let text = text(bytes).with_context(|| format!("cannot read {file}"))?;
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
        .peekable();
    let Some(&(number, first)) = lines.peek() else { bail!("{file}: the file is empty") };
    let at_first = || format!("{file}:{number}");
    let object: serde_json::Value = serde_json::from_str(first).with_context(at_first)?;
    let name = Path::new(file).file_stem().map_or(file.into(), |stem| stem.to_string_lossy());
    let trace = if object.get("block").is_some() {
        lines.next();
        let header = serde_json::from_str(first).with_context(at_first)?;
        native::parse(&header, lines, file)?
    } else if object.get("hash_ids").is_some() {
        mooncake::parse(lines, &name, file)?
    } else if openai::recognises(&object) {
        openai::parse(lines, &name, file)?
    } else {
        bail!(
            "{file}:{number}: neither a trace header nor a line of Mooncake's format nor an OpenAI \
             request body with a timestamp"
        );
    };
    if trace.requests.is_empty() {
        bail!("{file}: the trace has no requests");
    }
    Ok(trace)
}

/// The contents of a file, unpacked if need be.
pub(crate) fn text(bytes: &[u8]) -> Result<String> {
    const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
    let mut text = String::new();
    if bytes.starts_with(&GZIP_MAGIC) {
        flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text)?;
    } else {
        text = String::from_utf8(bytes.to_vec())?;
    }
    Ok(text)
}
