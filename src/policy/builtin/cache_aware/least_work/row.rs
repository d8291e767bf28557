//! One worker's row of the least-work rule's state: one cache line of atomics.

use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Room of a worker whose KV capacity is not known: more than any requests take.
const UNLIMITED: i64 = i64::MAX / 4;

#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Row {
    /// Tokens dispatched and not past their first token.
    pub(super) queued: AtomicI64,
    /// Requests that they belong to.
    pub(super) pending: AtomicI64,
    pub(super) busy_since: AtomicU64,
    pub(super) last_done: AtomicU64,
    pub(super) reliability: F64,
    pub(super) work_sum: F64,
    pub(super) time_sum: F64,
    /// KV tokens that fit besides those of the requests in flight; negative where those must take turns.
    pub(super) room: AtomicI64,
}

impl Row {
    pub(super) fn new() -> Self {
        Row {
            queued: AtomicI64::new(0),
            pending: AtomicI64::new(0),
            busy_since: AtomicU64::new(0),
            last_done: AtomicU64::new(0),
            reliability: F64::new(1.0),
            work_sum: F64::new(0.0),
            time_sum: F64::new(0.0),
            room: AtomicI64::new(UNLIMITED),
        }
    }
}

/// A KV capacity as an empty worker's room.
pub(super) fn room_of(capacity: Option<u64>) -> i64 {
    capacity.map_or(UNLIMITED, |tokens| i64::try_from(tokens).unwrap_or(UNLIMITED).min(UNLIMITED))
}

/// An `f64` in an atomic.
#[derive(Debug)]
pub(super) struct F64(AtomicU64);

impl F64 {
    pub(super) fn new(value: f64) -> Self {
        F64(AtomicU64::new(value.to_bits()))
    }

    #[inline]
    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    #[inline]
    pub(super) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Moves towards a sample; the new value.
    #[inline]
    pub(super) fn approach(&self, sample: f64, step: f64) -> f64 {
        let old = self.get();
        let new = old + step * (sample - old);
        if new != old {
            self.set(new);
        }
        new
    }
}
