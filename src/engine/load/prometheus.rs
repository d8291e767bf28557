//! The text of `/metrics`, line by line, in the form of Prometheus or of OpenMetrics.

use super::loads::{Loads, Numbers};
use super::metric::{self, Metric, Series};
use crate::engine::error::{EngineError, EngineErrorKind};

impl Loads {
    /// Reads the text of `/metrics`: of vLLM, SGLang, TensorRT-LLM's own server, and Triton.
    ///
    /// Several series of one name and rank are the same requests seen by several processes, as those of
    /// SGLang's tensor-parallel ranks: the largest counts.
    ///
    /// # Errors
    /// A line of a name that it reads has no number. Nothing is known then.
    pub fn read_metrics(&mut self, text: &[u8]) -> Result<(), EngineError> {
        self.gather(|loads| read(text, loads))
    }
}

fn read(text: &[u8], loads: &mut Loads) -> Result<(), EngineError> {
    let mut start = 0;
    for line in text.split(|byte| *byte == b'\n') {
        let cursor = Cursor { line, at: 0, start };
        start += line.len() + 1;
        cursor.read(loads)?;
    }
    Ok(())
}

/// What the labels of a series say.
#[derive(Default)]
struct Labels<'a> {
    rank: u32,
    /// Of Triton's `request_type` or `kv_cache_block_type`.
    kind: &'a [u8],
    /// Of a cache's configuration.
    config: Numbers,
}

struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
    /// Of the line in the text.
    start: usize,
}

impl<'a> Cursor<'a> {
    fn read(mut self, loads: &mut Loads) -> Result<(), EngineError> {
        self.space();
        let name = self.until(|byte| matches!(byte, b'{' | b' ' | b'\t' | b'\r'));
        let Some(series) = metric::series(name) else { return Ok(()) };
        self.space();
        let labels = if self.next_is(b'{') { self.labels()? } else { Labels::default() };
        self.space();
        let at = self.at;
        let value = self.until(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
        let value = number(value).ok_or_else(|| self.error(at))?;
        let metric = match series {
            Series::Value(metric) => Some(metric),
            Series::Requests => metric::requests(labels.kind),
            Series::Blocks => metric::blocks(labels.kind),
            Series::CacheConfig => None,
        };
        let position = self.start;
        if let Some(metric) = metric {
            loads.rank(labels.rank, position)?.put(metric, value);
        } else if series == Series::CacheConfig {
            loads.rank(labels.rank, position)?.join(&labels.config);
        }
        Ok(())
    }

    /// Labels, from behind the brace that opens them to behind the one that closes them.
    fn labels(&mut self) -> Result<Labels<'a>, EngineError> {
        let mut labels = Labels::default();
        loop {
            self.until(|byte| !matches!(byte, b' ' | b'\t' | b','));
            if self.next_is(b'}') {
                return Ok(labels);
            }
            let name = self.until(|byte| matches!(byte, b'=' | b' ' | b'\t'));
            self.space();
            let is_label = self.next_is(b'=');
            self.space();
            if !is_label || !self.next_is(b'"') {
                return Err(self.error(self.at));
            }
            let value = self.quoted()?;
            match name {
                // vLLM's and SGLang's names for the data-parallel rank.
                b"engine" | b"dp_rank" => labels.rank = rank(value).unwrap_or(0),
                b"request_type" | b"kv_cache_block_type" => labels.kind = value,
                _ => {
                    // Numbers as texts, or `None`.
                    if let Some((metric, value)) = metric::config(name).zip(number(value)) {
                        labels.config.put(metric, value);
                    }
                }
            }
        }
    }

    /// A label's value as it is written, to behind the quote that ends it.
    fn quoted(&mut self) -> Result<&'a [u8], EngineError> {
        let start = self.at;
        while let Some(byte) = self.line.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(&self.line[start..self.at - 1]);
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        Err(self.error(self.line.len()))
    }

    fn error(&self, at: usize) -> EngineError {
        EngineError::new(EngineErrorKind::Metric, self.start + at)
    }

    /// What comes before the first byte of this kind, or the rest.
    fn until(&mut self, is_end: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| is_end(*byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn space(&mut self) {
        self.until(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    }

    fn next_is(&mut self, byte: u8) -> bool {
        let is_next = self.line.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }
}

/// A number as Prometheus writes it: Go's forms of `NaN` and infinity are Rust's, too.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn rank(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Numbers {
    fn join(&mut self, others: &Numbers) {
        for metric in [Metric::BlockTokens, Metric::TotalBlocks, Metric::TotalTokens] {
            if let Some(value) = others.get(metric) {
                self.put(metric, value);
            }
        }
    }
}
