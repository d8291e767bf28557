//! What reported usage teaches about lengths.

use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::worker::means::Means;

/// Tokens that an answer is expected to have before any usage is reported.
const DEFAULT_OUTPUT_TOKENS: f32 = 256.0;
/// Share of a new sample in the estimate of an answer's length, and the most that it is taken for.
const ANSWER_STEP: f32 = 0.01;
const ANSWER_TOKENS: f32 = 1e6;
/// Bytes of prompt text per token before any usage is reported.
const DEFAULT_BYTES_PER_TOKEN: f32 = 4.0;
/// Share of a new sample in the estimate of bytes per token, and the range of samples: bytes per token.
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

    /// A prompt of this many bytes had this many tokens, as the worker of these means says. What no
    /// tokenizer makes of text teaches nothing.
    pub(crate) fn learn_prompt(&self, of_worker: &Means, bytes: u32, tokens: u32) {
        if bytes == 0 || tokens == 0 {
            return;
        }
        let sample = bytes as f32 / tokens as f32;
        if BYTES_PER_TOKEN.contains(&sample) {
            let known = self.bytes_per_token();
            let sample = of_worker.bytes_per_token.bounded(sample, known);
            step(&self.bytes_per_token, sample, BYTES_PER_TOKEN_STEP);
            self.note_bytes_per_token();
        }
    }

    fn note_bytes_per_token(&self) {
        let per_byte = 65536.0 / self.bytes_per_token();
        self.tokens_per_byte.store(per_byte.round() as u32, Relaxed);
    }

    /// An answer of the worker of these means had this many tokens.
    pub(crate) fn learn_answer(&self, of_worker: &Means, tokens: u32) {
        let sample = (tokens as f32).min(ANSWER_TOKENS);
        let known = f32::from_bits(self.answer.load(Relaxed));
        let sample = of_worker.answer.bounded(sample, known);
        let answer = step(&self.answer, sample, ANSWER_STEP);
        self.answer_tokens.store(answer as u32, Relaxed);
    }
}

fn step(average: &AtomicU32, sample: f32, share: f32) -> f32 {
    let old = f32::from_bits(average.load(Relaxed));
    let new = old + share * (sample - old);
    average.store(new.to_bits(), Relaxed);
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After this many rounds of one report of each worker: bytes per token, and tokens of an answer.
    fn learned(rounds: usize, reports: &[(u32, u32)]) -> (f32, u32) {
        let estimates = Estimates::default();
        let means: Vec<Means> = reports.iter().map(|_| Means::default()).collect();
        for _ in 0..rounds {
            for (&(tokens, answer), means) in reports.iter().zip(&means) {
                estimates.learn_prompt(means, 3000, tokens);
                estimates.learn_answer(means, answer);
            }
        }
        (estimates.bytes_per_token(), estimates.answer_tokens())
    }

    #[test]
    fn what_all_workers_say_is_found_from_afar() {
        let (bytes, answer) = learned(1000, &[(2000, 9000), (2000, 9000)]);
        assert!((1.49..1.51).contains(&bytes), "{bytes}");
        assert!((8900..=9000).contains(&answer), "{answer}");
        let (bytes, answer) = learned(1000, &[(200, 3)]);
        assert!((14.9..=15.0).contains(&bytes), "{bytes}");
        assert!((2..=4).contains(&answer), "{answer}");
    }

    #[test]
    fn one_worker_that_errs_moves_little() {
        let honest = (1000, 400);
        for lie in [(190, u32::MAX), (5999, 0), (1, 1), (u32::MAX, 0), (0, u32::MAX)] {
            let (bytes, answer) = learned(3000, &[honest, honest, honest, lie]);
            // A quarter of all reports: between 6/7 and 3/2 of the truth.
            assert!((2.5..4.6).contains(&bytes), "{lie:?}: {bytes}");
            assert!((340..=610).contains(&answer), "{lie:?}: {answer}");
        }
    }

    #[test]
    fn what_no_tokenizer_says_teaches_nothing() {
        for tokens in [0, 1, 100, 7000, u32::MAX] {
            assert_eq!(learned(100, &[(tokens, 256)]).0, DEFAULT_BYTES_PER_TOKEN, "{tokens}");
        }
    }
}
