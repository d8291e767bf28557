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

/// Moving averages, kept as the bits of an `f32`, and what requests read of them, as whole numbers.
/// Threads may lose each other's samples, which costs precision of an estimate and nothing else.
#[derive(Debug)]
pub(crate) struct Estimates {
    bytes_per_token: AtomicU32,
    answer: AtomicU32,
    /// Tokens to a byte, in steps of 2^-16.
    tokens_per_byte: AtomicU32,
    answer_tokens: AtomicU32,
}

impl Default for Estimates {
    fn default() -> Self {
        let estimates = Estimates {
            bytes_per_token: AtomicU32::new(DEFAULT_BYTES_PER_TOKEN.to_bits()),
            answer: AtomicU32::new(DEFAULT_OUTPUT_TOKENS.to_bits()),
            tokens_per_byte: AtomicU32::new(0),
            answer_tokens: AtomicU32::new(DEFAULT_OUTPUT_TOKENS as u32),
        };
        estimates.note_bytes_per_token();
        estimates
    }
}

impl Estimates {
    /// Bytes of prompt text per token.
    pub(crate) fn bytes_per_token(&self) -> f32 {
        f32::from_bits(self.bytes_per_token.load(Relaxed))
    }

    /// Tokens in this many bytes of prompt text.
    #[inline(always)]
    pub(crate) fn tokens(&self, bytes: u64) -> u32 {
        let tokens = bytes.saturating_mul(self.tokens_per_byte.load(Relaxed).into()) >> 16;
        tokens.min(u32::MAX.into()) as u32
    }

    /// The length that an answer is expected to have, in tokens, where the request does not say.
    #[inline]
    pub(crate) fn answer_tokens(&self) -> u32 {
        self.answer_tokens.load(Relaxed)
    }

    /// A prompt of this many bytes had this many tokens.
    pub(crate) fn learn_prompt(&self, bytes: u32, tokens: u32) {
        if bytes == 0 || tokens == 0 {
            return;
        }
        let sample = bytes as f32 / tokens as f32;
        let sample = sample.clamp(*BYTES_PER_TOKEN.start(), *BYTES_PER_TOKEN.end());
        step(&self.bytes_per_token, sample, BYTES_PER_TOKEN_STEP);
        self.note_bytes_per_token();
    }

    fn note_bytes_per_token(&self) {
        let per_byte = 65536.0 / self.bytes_per_token();
        self.tokens_per_byte.store(per_byte.round() as u32, Relaxed);
    }

    /// An answer had this many tokens.
    pub(crate) fn learn_answer(&self, tokens: u32) {
        let answer = step(&self.answer, (tokens as f32).min(ANSWER_TOKENS), ANSWER_STEP);
        self.answer_tokens.store(answer as u32, Relaxed);
    }
}

fn step(average: &AtomicU32, sample: f32, share: f32) -> f32 {
    let old = f32::from_bits(average.load(Relaxed));
    let new = old + share * (sample - old);
    average.store(new.to_bits(), Relaxed);
    new
}
