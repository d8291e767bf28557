//! What the least-work rule knows: a flat row of atomics per slot, and a few numbers for all.
//!
//! Queued work, the number of requests it belongs to and KV room are exact: every dispatch adds, and
//! exactly one of first token, completion and cancellation takes away (of the room, the end alone).
//! The rest are estimates, read and stored by two operations: threads may lose each other's samples,
//! which slows an estimate down and nothing else. All orderings are relaxed, as no number here guards
//! another.

use super::formula;
use super::row::{F64, Row, room_of};
use crate::pool::MAX_WORKERS;
use crate::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Reliability below this is taken as this when a prediction is scaled back.
const LEAST_RELIABILITY: f64 = 0.05;
/// A worker's measured rate is taken between a quarter and four times the mean.
const RELATIVE_RATES: (f64, f64) = (0.25, 4.0);
/// Nanoseconds after which a worker's measured rate says nothing any more.
const STALE: u64 = 60_000_000_000;
/// Nanoseconds beyond which a prefill says more about the clock or the client than about the rate.
const LONGEST: u64 = 600_000_000_000;
/// The same for a whole request.
const LONGEST_REQUEST: u64 = 3_600_000_000_000;
/// Share of a new sample in the mean times of requests.
const TIME_STEP: f64 = 0.01;

/// Estimates of one policy.
#[derive(Debug)]
pub(super) struct Estimates {
    rows: Box<[Row; MAX_WORKERS]>,
    /// Room of each worker when it is empty.
    capacities: Box<[AtomicI64; MAX_WORKERS]>,
    /// Workers with pending prefill.
    busy: AtomicI64,
    busy_share: F64,
    mean_work: F64,
    work_sum: F64,
    time_sum: F64,
    /// Mean seconds from dispatch to the first token, and to the end.
    first_seconds: F64,
    whole_seconds: F64,
    initial_rate: f64,
}

impl Estimates {
    pub(super) fn new(initial_rate: f64) -> Self {
        Estimates {
            rows: boxed(Row::new),
            capacities: boxed(|| AtomicI64::new(room_of(None))),
            busy: AtomicI64::new(0),
            busy_share: F64::new(0.3),
            mean_work: F64::new(1000.0),
            work_sum: F64::new(0.0),
            time_sum: F64::new(0.0),
            first_seconds: F64::new(0.0),
            whole_seconds: F64::new(0.0),
            initial_rate,
        }
    }

    #[inline]
    fn row(&self, slot: usize) -> &Row {
        &self.rows[slot % MAX_WORKERS]
    }

    /// Takes the momentary share of busy workers into the mean; the new mean.
    #[inline]
    pub(super) fn sample_busy(&self, workers: usize, step: f64) -> f64 {
        let busy = self.busy.load(Relaxed).max(0) as f64;
        self.busy_share.approach((busy / workers.max(1) as f64).min(1.0), step)
    }

    pub(super) fn mean_work(&self) -> f64 {
        self.mean_work.get()
    }

    #[inline]
    pub(super) fn sample_work(&self, work: u32, step: f64) {
        self.mean_work.approach(work.into(), step);
    }

    /// Tokens per second that a worker computes, on average.
    #[inline]
    pub(super) fn rate(&self) -> f64 {
        let seconds = self.time_sum.get();
        if seconds > 0.0 { self.work_sum.get() / seconds } else { self.initial_rate }
    }

    /// The worker's rate relative to the mean. A worker without a recent sample is taken for a fast one,
    /// so that it is tried again.
    pub(super) fn relative_rate(&self, slot: usize, now: u64) -> f64 {
        let row = self.row(slot);
        let (work, seconds) = (row.work_sum.get(), row.time_sum.get());
        let mean = self.rate();
        // The absolute difference: after a backward jump of the clock the last sample lies in the future.
        let idle = now.abs_diff(row.last_done.load(Relaxed));
        if seconds <= 0.0 || mean <= 0.0 || idle > STALE {
            return RELATIVE_RATES.1;
        }
        (work / seconds / mean).clamp(RELATIVE_RATES.0, RELATIVE_RATES.1)
    }

    /// The worker's own rate in tokens per second; the mean before its first sample.
    pub(super) fn own_rate(&self, slot: usize) -> f64 {
        let row = self.row(slot);
        let seconds = row.time_sum.get();
        if seconds > 0.0 { row.work_sum.get() / seconds } else { self.rate() }
    }

    pub(super) fn sample_rate(&self, slot: usize, work: u32, seconds: f64, decay: f64) {
        let row = self.row(slot);
        let pairs = [(&self.work_sum, &self.time_sum), (&row.work_sum, &row.time_sum)];
        for (work_sum, time_sum) in pairs {
            work_sum.set(work_sum.get() * decay + f64::from(work));
            time_sum.set(time_sum.get() * decay + seconds);
        }
    }

    #[inline]
    pub(super) fn reliability(&self, slot: usize) -> f64 {
        self.row(slot).reliability.get()
    }

    /// Compares what was predicted to be cached with what was.
    pub(super) fn sample_reliability(&self, slot: usize, predicted: u32, cached: u32, step: f64) {
        if predicted > 0 {
            let share = (f64::from(cached) / f64::from(predicted)).min(1.0);
            let row = self.row(slot);
            row.reliability.approach(share, step);
            if row.reliability.get() < LEAST_RELIABILITY {
                row.reliability.set(LEAST_RELIABILITY);
            }
        }
    }

    /// Work not yet done on a worker of this rate, in tokens per nanosecond; in tokens.
    #[inline]
    pub(super) fn backlog(&self, slot: usize, now: u64, rate: f64, head_cap: f64) -> f64 {
        let row = self.row(slot);
        let pending = row.pending.load(Relaxed);
        let queued = row.queued.load(Relaxed);
        if pending <= 0 || queued <= 0 {
            return 0.0;
        }
        let since = row.busy_since.load(Relaxed).max(row.last_done.load(Relaxed));
        // Signed, as that converts in one instruction; no clock counts 2^63 ns.
        let time = now.saturating_sub(since) as i64 as f64;
        let head = queued as f64 / pending as f64;
        formula::backlog(queued as f64, head, time, rate, head_cap)
    }

    /// Whether the worker has no backlog and KV room for so many tokens.
    #[inline]
    pub(super) fn is_idle(&self, slot: usize, tokens: i64) -> bool {
        let row = self.row(slot);
        row.pending.load(Relaxed) <= 0 && tokens <= row.room.load(Relaxed)
    }

    /// Requests dispatched to the worker and not past their first token.
    #[inline]
    pub(super) fn pending(&self, slot: usize) -> u32 {
        u32::try_from(self.row(slot).pending.load(Relaxed)).unwrap_or(0)
    }

    /// A request's work goes to the worker.
    #[inline]
    pub(super) fn start(&self, slot: usize, work: u32, now: u64) {
        let row = self.row(slot);
        row.queued.fetch_add(work.into(), Relaxed);
        if row.pending.fetch_add(1, Relaxed) == 0 {
            row.busy_since.store(now, Relaxed);
            self.busy.fetch_add(1, Relaxed);
        }
    }

    /// The work is given back without having been done.
    pub(super) fn cancel(&self, slot: usize, work: u32) {
        let row = self.row(slot);
        row.queued.fetch_sub(work.into(), Relaxed);
        if row.pending.fetch_sub(1, Relaxed) == 1 {
            self.busy.fetch_sub(1, Relaxed);
        }
    }

    /// The work is done. Returns the seconds that the worker spent on it, if they are known.
    pub(super) fn finish(&self, slot: usize, work: u32, dispatched: u64, now: u64) -> Option<f64> {
        self.cancel(slot, work);
        let row = self.row(slot);
        // A swap, not a maximum: a clock that once jumped ahead must not stay ahead.
        let began = dispatched.max(row.last_done.swap(now, Relaxed));
        let spent = now.saturating_sub(began);
        (spent > 0 && spent <= LONGEST).then(|| spent as f64 / 1e9)
    }

    /// A request takes KV tokens on the worker, or gives them back where they are negative.
    #[inline]
    pub(super) fn occupy(&self, slot: usize, tokens: i64) {
        self.row(slot).room.fetch_sub(tokens, Relaxed);
    }

    /// Tokens by which the worker's requests in flight exceed its KV capacity.
    pub(super) fn overcommitted(&self, slot: usize) -> u64 {
        self.row(slot).room.load(Relaxed).min(0).unsigned_abs()
    }

    /// Seconds until the worker has KV room for this many tokens, after all that were sent there before.
    /// Nothing waits for more than those to end: what is larger than the worker runs alone.
    #[inline]
    pub(super) fn room_wait(&self, slot: usize, tokens: i64) -> f64 {
        let room = self.row(slot).room.load(Relaxed);
        if tokens <= room { 0.0 } else { self.excess_wait(slot, tokens, room) }
    }

    #[inline(never)]
    fn excess_wait(&self, slot: usize, tokens: i64, room: i64) -> f64 {
        let capacity = self.capacities[slot % MAX_WORKERS].load(Relaxed);
        let excess = tokens.min(capacity).saturating_sub(room);
        let hold = self.whole_seconds.get() - self.first_seconds.get();
        formula::room_wait(excess as f64, capacity as f64, hold)
    }

    /// A request's first token came.
    pub(super) fn sample_first(&self, dispatched: u64, now: u64) {
        sample_time(&self.first_seconds, dispatched, now);
    }

    /// A request is over.
    pub(super) fn sample_whole(&self, dispatched: u64, now: u64) {
        sample_time(&self.whole_seconds, dispatched, now);
    }

    /// A clean row for the worker that takes the slot.
    pub(super) fn reset(&self, slot: usize, capacity: Option<u64>) {
        let row = self.row(slot);
        row.room.store(room_of(capacity), Relaxed);
        self.capacities[slot % MAX_WORKERS].store(room_of(capacity), Relaxed);
        if row.pending.swap(0, Relaxed) > 0 {
            self.busy.fetch_sub(1, Relaxed);
        }
        row.queued.store(0, Relaxed);
        row.busy_since.store(0, Relaxed);
        row.last_done.store(0, Relaxed);
        row.reliability.set(1.0);
        row.work_sum.set(0.0);
        row.time_sum.set(0.0);
    }

    /// Another KV capacity for the worker; what its requests hold stays counted.
    pub(super) fn resize(&self, slot: usize, capacity: Option<u64>) {
        let room = room_of(capacity);
        let before = self.capacities[slot % MAX_WORKERS].swap(room, Relaxed);
        self.row(slot).room.fetch_add(room - before, Relaxed);
    }

    /// Forgets every request in flight: only for a forked child.
    pub(super) fn forget_pending(&self) {
        for (row, capacity) in self.rows.iter().zip(self.capacities.iter()) {
            row.room.store(capacity.load(Relaxed), Relaxed);
            row.queued.store(0, Relaxed);
            row.pending.store(0, Relaxed);
        }
        self.busy.store(0, Relaxed);
    }
}

/// An array made where it will lie: it is too large for a stack.
fn boxed<T>(make: impl Fn() -> T) -> Box<[T; MAX_WORKERS]> {
    let slice: Box<[T]> = (0..MAX_WORKERS).map(|_| make()).collect();
    // Its length is that of the array.
    slice.try_into().unwrap_or_else(|_| unreachable!())
}

fn sample_time(mean: &F64, dispatched: u64, now: u64) {
    let taken = now.saturating_sub(dispatched);
    if taken <= LONGEST_REQUEST {
        mean.approach(taken as f64 / 1e9, TIME_STEP);
    }
}
