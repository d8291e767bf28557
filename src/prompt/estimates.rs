//! What reported usage teaches about lengths.

use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Tokens that an answer is expected to have before any usage is reported.
const DEFAULT_OUTPUT_TOKENS: f32 = 256.0;
/// Share of a new sample in the estimate of an answer's length, and the most that it is taken for.
const ANSWER_STEP: f32 = 0.01;
const ANSWER_TOKENS: f32 = 1e6;
/// Bytes of prompt text per token before any usage is reported.
const DEFAULT_BYTES_PER_TOKEN: f32 = 4.0;
/// Share of a new sample in the estimate of bytes per token, and the range of samples.
const BYTES_PER_TOKEN_STEP: f32 = 0.02;
const BYTES_PER_TOKEN: std::ops::RangeInclusive<f32> = 0.5..=16.0;

/// Moving averages, kept as the bits of an `f32`. Threads may lose each other's samples, which costs
/// precision of an estimate and nothing else.
#[derive(Debug)]
pub(crate) struct Estimates {
    bytes_per_token: AtomicU32,
    answer_tokens: AtomicU32,
}

impl Default for Estimates {
    fn default() -> Self {
        Estimates {
            bytes_per_token: AtomicU32::new(DEFAULT_BYTES_PER_TOKEN.to_bits()),
            answer_tokens: AtomicU32::new(DEFAULT_OUTPUT_TOKENS.to_bits()),
        }
    }
}

impl Estimates {
    /// Bytes of prompt text per token.
    pub(crate) fn bytes_per_token(&self) -> f32 {
        f32::from_bits(self.bytes_per_token.load(Relaxed))
    }

    /// The length that an answer is expected to have, in tokens, where the request does not say.
    #[inline]
    pub(crate) fn answer_tokens(&self) -> u32 {
        f32::from_bits(self.answer_tokens.load(Relaxed)) as u32
    }

    /// A prompt of this many bytes had this many tokens.
    pub(crate) fn learn_prompt(&self, bytes: u32, tokens: u32) {
        if bytes == 0 || tokens == 0 {
            return;
        }
        let sample = bytes as f32 / tokens as f32;
        let sample = sample.clamp(*BYTES_PER_TOKEN.start(), *BYTES_PER_TOKEN.end());
        step(&self.bytes_per_token, sample, BYTES_PER_TOKEN_STEP);
    }

    /// An answer had this many tokens.
    pub(crate) fn learn_answer(&self, tokens: u32) {
        step(&self.answer_tokens, (tokens as f32).min(ANSWER_TOKENS), ANSWER_STEP);
    }
}

fn step(average: &AtomicU32, sample: f32, share: f32) {
    let old = f32::from_bits(average.load(Relaxed));
    average.store((old + share * (sample - old)).to_bits(), Relaxed);
}
