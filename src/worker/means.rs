//! Averages of what one worker reports.

use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Share of a new sample.
const STEP: f32 = 0.1;

/// What one worker's reports say of lengths, so that a worker that errs moves what all share by little.
#[derive(Debug, Default)]
pub(crate) struct Means {
    pub(crate) bytes_per_token: Mean,
    pub(crate) answer: Mean,
}

impl Means {
    /// As of a worker that has reported nothing.
    pub(crate) fn reset(&self) {
        self.bytes_per_token.0.store(0, Relaxed);
        self.answer.0.store(0, Relaxed);
    }
}

/// The bits of an `f32`, 0 before the first sample.
#[derive(Debug, Default)]
pub(crate) struct Mean(AtomicU32);

impl Mean {
    /// Takes a sample into the worker's mean, and returns what it counts for all: that mean, at most twice
    /// and at least half of what is known.
    ///
    /// So a share `p` below a half of all samples moves the mean of all to `(1 - p) / (1 - 2p)` times the
    /// truth at most, whatever it says, and to `(1 - p) / (1 - p / 2)` times it at least; and a mean that is
    /// wrong for all workers still finds its way.
    pub(crate) fn bounded(&self, sample: f32, known: f32) -> f32 {
        let bits = self.0.load(Relaxed);
        let old = if bits == 0 { known } else { f32::from_bits(bits) };
        let new = old + STEP * (sample - old);
        self.0.store(new.to_bits(), Relaxed);
        new.clamp(known / 2.0, known * 2.0)
    }
}
