//! One inference engine: a queue, a serial prefill, a decode batch, a prefix cache.
//!
//! Decode is a processor shared by the batch: every sequence makes a token each
//! `step + step_per_sequence * batch` seconds. A counter of tokens per sequence since the start
//! stands for the whole batch, so that a run costs a few events per request, not one per token.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::Instant;
use super::fleet::WorkerModel;
use super::lru::BlockCache;

/// One worker's state.
pub(crate) struct Worker {
    pub(crate) model: WorkerModel,
    pub(crate) cache: BlockCache,
    /// Requests that wait for prefill (or, on a decode worker, for room).
    pub(crate) queue: VecDeque<usize>,
    /// The request in prefill and when that began.
    pub(crate) prefilling: Option<(usize, f64)>,
    /// Admitted requests: in prefill, decode, or between.
    pub(crate) running: Vec<usize>,
    /// Not dead.
    pub(crate) alive: bool,
    /// Factor on the model's speed.
    pub(crate) speed: f64,
    /// Seconds spent in prefill.
    pub(crate) busy: f64,
    /// Distinguishes events of this life and batch from older ones.
    pub(crate) life: u64,
    pub(crate) batch_version: u64,
    progress: f64,
    progress_at: f64,
    batch: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Worker {
    pub(crate) fn new(model: WorkerModel, ids: usize) -> Self {
        Self {
            cache: BlockCache::new(model.capacity, ids),
            queue: VecDeque::new(),
            prefilling: None,
            running: Vec::new(),
            alive: model.present,
            speed: 1.0,
            busy: 0.0,
            life: 0,
            batch_version: 0,
            progress: 0.0,
            progress_at: 0.0,
            batch: BinaryHeap::new(),
            model,
        }
    }

    /// Seconds of prefill for `tokens` that the cache does not save.
    pub(crate) fn prefill_seconds(&self, tokens: u32) -> f64 {
        (self.model.overhead + f64::from(tokens) / self.model.prefill_rate) / self.speed
    }

    /// Changes the speed from `now` on; the prefill under way keeps its end.
    pub(crate) fn set_speed(&mut self, now: f64, speed: f64) {
        self.advance(now);
        self.speed = speed.max(1e-6);
        self.batch_version += 1;
    }

    /// Adds a sequence of `tokens` to the batch.
    pub(crate) fn start_decode(&mut self, now: f64, job: usize, tokens: u32) {
        self.advance(now);
        self.batch.push(Reverse((Instant(self.progress + f64::from(tokens)), job)));
        self.batch_version += 1;
    }

    /// When the next sequence ends, if nothing joins or leaves before.
    pub(crate) fn next_end(&self, now: f64) -> Option<f64> {
        let Reverse((Instant(end), _)) = self.batch.peek()?;
        Some(now + (end - self.progress).max(0.0) * self.token_seconds())
    }

    /// Takes out a sequence that is over at `now`.
    pub(crate) fn pop_ended(&mut self, now: f64) -> Option<usize> {
        self.advance(now);
        let Reverse((Instant(end), job)) = *self.batch.peek()?;
        if end > self.progress + 1e-6 {
            return None;
        }
        self.batch.pop();
        self.batch_version += 1;
        Some(job)
    }

    /// Dies: forgets all work and the cache; returns the requests that it had.
    pub(crate) fn die(&mut self) -> Vec<usize> {
        let mut lost: Vec<usize> = self.running.drain(..).chain(self.queue.drain(..)).collect();
        lost.sort_unstable();
        lost.dedup();
        self.prefilling = None;
        self.batch.clear();
        self.batch_version += 1;
        self.life += 1;
        self.cache.clear();
        self.alive = false;
        lost
    }

    /// Requests that wait for a first token here.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.prefilling.is_some())
    }

    fn token_seconds(&self) -> f64 {
        let batch = self.batch.len() as f64;
        (self.model.step + self.model.step_per_sequence * batch) / self.speed
    }

    fn advance(&mut self, now: f64) {
        if !self.batch.is_empty() {
            self.progress += (now - self.progress_at).max(0.0) / self.token_seconds();
        }
        self.progress_at = now;
    }
}
