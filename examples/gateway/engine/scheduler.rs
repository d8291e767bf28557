//! When a request runs: a queue in front of a serial prefill, then decode steps that get slower as
//! more sequences run together.
//!
//! Time is simulated with timers, so an engine costs no processor time. Prefill of `x` tokens that the
//! cache lacks takes `overhead + x / prefill_rate`, one prompt after the other; one decode step takes
//! `step + step_per_sequence * running`. Prefill does not slow decode down here.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::EngineConfig;
use super::cache::{BYTES_PER_TOKEN, Cache, block_hashes};

/// What the engine counts, in vLLM's terms.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) running: AtomicUsize,
    pub(crate) waiting: AtomicUsize,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) cached_tokens: AtomicU64,
    pub(crate) generated_tokens: AtomicU64,
    pub(crate) succeeded: AtomicU64,
    pub(crate) cancelled: AtomicU64,
}

/// Queue, prefill and KV memory of one engine.
pub(crate) struct Scheduler {
    pub(crate) config: EngineConfig,
    pub(crate) counters: Counters,
    cache: Mutex<Cache>,
    sequences: Arc<Semaphore>,
    prefill: Semaphore,
    /// When the prefill unit became free; exact, so that late timers do not add up.
    prefill_free: Mutex<Instant>,
    room: Notify,
}

/// The engine can never serve this request: prompt and output exceed its KV memory.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl Scheduler {
    pub(crate) fn new(config: EngineConfig) -> Arc<Scheduler> {
        Arc::new(Scheduler {
            counters: Counters::default(),
            cache: Mutex::new(Cache::new(config.kv_capacity_tokens / config.block_tokens)),
            sequences: Arc::new(Semaphore::new(config.max_sequences)),
            prefill: Semaphore::new(1),
            prefill_free: Mutex::new(Instant::now()),
            room: Notify::new(),
            config,
        })
    }

    /// Share of the KV memory that running sequences occupy.
    pub(crate) fn kv_usage(&self) -> f64 {
        self.cache().usage()
    }

    /// Forgets what is cached, unless a sequence runs.
    pub(crate) fn flush(&self) -> bool {
        self.cache().flush()
    }

    /// Waits for its turn, prefills `text` and returns the running sequence. Dropping the future
    /// takes the request out of the queue.
    pub(crate) async fn prefill(
        self: &Arc<Self>,
        seed: u64,
        text: Vec<u8>,
        max_output: usize,
    ) -> Result<Sequence, TooLarge> {
        self.admit(seed, text, max_output, Source::Compute).await
    }

    /// As [`Scheduler::prefill`], for a prompt whose KV another engine computed: it is received, not computed.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        seed: u64,
        text: Vec<u8>,
        max_output: usize,
    ) -> Result<Sequence, TooLarge> {
        self.admit(seed, text, max_output, Source::Transfer).await
    }

    async fn admit(
        self: &Arc<Self>,
        seed: u64,
        text: Vec<u8>,
        max_output: usize,
        source: Source,
    ) -> Result<Sequence, TooLarge> {
        let block = self.config.block_tokens;
        let hashes = block_hashes(seed, &text, block);
        let tokens = text.len().div_ceil(BYTES_PER_TOKEN);
        // The partly filled last block and the output.
        let output = (tokens + max_output).div_ceil(block) - hashes.len();
        if self.cache().too_large(hashes.len() + output) {
            return Err(TooLarge);
        }
        let mut waiting = Waiting::new(self);
        // The semaphores are never closed; a permit that could not be had would only lift a limit.
        let permit = self.sequences.clone().acquire_owned().await.ok();
        let turn = self.prefill.acquire().await.ok();
        let started = Instant::now();
        let hits = self.wait_for_room(&hashes, output).await;
        let mut sequence = Sequence {
            scheduler: self.clone(),
            seed,
            text,
            prompt_tokens: tokens,
            // The last prompt token is always computed: its logits give the first output token.
            cached_tokens: (hits * block).min(tokens.saturating_sub(1)),
            pinned: hashes[..hits].to_vec(),
            reserved: hashes.len() - hits + output,
            produced: 0,
            next_token: started,
            finished: false,
            _permit: permit,
        };
        waiting.admitted = true;
        drop(waiting);
        self.counters.running.fetch_add(1, Relaxed);
        self.occupy(tokens - sequence.cached_tokens, source).await;
        drop(turn);
        sequence.reserved = self.cache().fill(&hashes[hits..], sequence.reserved);
        sequence.pinned = hashes;
        sequence.next_token = Instant::now();
        self.counters.prompt_tokens.fetch_add(tokens as u64, Relaxed);
        self.counters.cached_tokens.fetch_add(sequence.cached_tokens as u64, Relaxed);
        Ok(sequence)
    }

    /// Resident leading blocks, once running sequences leave enough room.
    async fn wait_for_room(&self, hashes: &[u64], output: usize) -> usize {
        loop {
            let released = self.room.notified();
            if let Some(hits) = self.cache().admit(hashes, output) {
                return hits;
            }
            released.await;
        }
    }

    /// Holds the prefill unit for the time that `tokens` take.
    async fn occupy(&self, tokens: usize, source: Source) {
        let rate = match source {
            Source::Compute => self.config.prefill_rate,
            Source::Transfer => self.config.transfer_rate,
        };
        let length = self.config.overhead + Duration::from_secs_f64(tokens as f64 / rate);
        let until = {
            let free = lock(&self.prefill_free);
            // A timer may fire a millisecond late: the requests queued after it do not pay for that.
            let now = Instant::now();
            let queued = now.saturating_duration_since(*free) < MAX_TIMER_LAG;
            if queued { *free + length } else { now + length }
        };
        tokio::time::sleep_until(until).await;
        *lock(&self.prefill_free) = until;
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        lock(&self.cache)
    }
}

const MAX_TIMER_LAG: Duration = Duration::from_millis(2);

/// Where the KV of a prompt comes from.
#[derive(Clone, Copy)]
enum Source {
    Compute,
    Transfer,
}

/// A prefilled request. Dropping it frees its KV blocks for reuse; they stay cached until evicted.
pub(crate) struct Sequence {
    scheduler: Arc<Scheduler>,
    seed: u64,
    text: Vec<u8>,
    pub(crate) prompt_tokens: usize,
    pub(crate) cached_tokens: usize,
    pinned: Vec<u64>,
    reserved: usize,
    pub(crate) produced: usize,
    next_token: Instant,
    finished: bool,
    _permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl Sequence {
    /// Waits for the next output token. The first one is there when prefill ends.
    pub(crate) async fn next_token(&mut self) -> String {
        if self.produced > 0 {
            let config = &self.scheduler.config;
            let running = self.scheduler.counters.running.load(Relaxed) as u32;
            self.next_token += config.step + config.step_per_sequence * running;
            tokio::time::sleep_until(self.next_token).await;
        }
        let token = token_text(self.seed ^ self.prompt_tokens as u64, self.produced as u64);
        self.text.extend_from_slice(token.as_bytes());
        self.produced += 1;
        self.scheduler.counters.generated_tokens.fetch_add(1, Relaxed);
        token
    }

    /// Blocks that hold the prompt's KV.
    pub(crate) fn blocks(&self) -> usize {
        self.pinned.len()
    }

    /// The sequence ended as it should: its output stays cached too.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        let all = block_hashes(self.seed, &self.text, self.scheduler.config.block_tokens);
        let output = &all[self.pinned.len()..];
        self.reserved = self.scheduler.cache().fill(output, self.reserved);
        self.pinned = all;
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        let counters = &self.scheduler.counters;
        counters.running.fetch_sub(1, Relaxed);
        let ended = if self.finished { &counters.succeeded } else { &counters.cancelled };
        ended.fetch_add(1, Relaxed);
        self.scheduler.cache().release(&self.pinned, self.reserved);
        self.scheduler.room.notify_waiters();
    }
}

/// A request that waits for its turn, counted as such.
struct Waiting<'a> {
    counters: &'a Counters,
    admitted: bool,
}

impl<'a> Waiting<'a> {
    fn new(scheduler: &'a Scheduler) -> Waiting<'a> {
        scheduler.counters.waiting.fetch_add(1, Relaxed);
        Waiting { counters: &scheduler.counters, admitted: false }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counters.waiting.fetch_sub(1, Relaxed);
        if !self.admitted {
            self.counters.cancelled.fetch_add(1, Relaxed);
        }
    }
}

/// Four bytes of pronounceable filler, the same for the same prompt.
fn token_text(seed: u64, index: u64) -> String {
    let mut bits = (seed ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let mut pick = |letters: &str| {
        let letter = letters.as_bytes()[bits as usize % letters.len()];
        bits /= letters.len() as u64;
        char::from(letter)
    };
    [pick("bdfgklmnprst"), pick("aeiou"), pick("lmnrst"), ' '].iter().collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
