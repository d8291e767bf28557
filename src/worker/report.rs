//! What a worker says about its own load, and where the last such report is kept.

use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use crate::time::Time;

/// What a worker says about its own load.
///
/// Later versions may add fields. A host that writes
/// `LoadReport { running, waiting, ..LoadReport::default() }` still compiles then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests that it is running.
    pub running: u32,
    /// Requests that it holds in its queue.
    pub waiting: u32,
    /// KV cache tokens in use, if it says so.
    pub kv_used_tokens: Option<u64>,
    /// KV cache tokens in all, if it says so.
    pub kv_total_tokens: Option<u64>,
    /// When the report was taken, in the nanoseconds of the router's clock; 0 = when it is handed in.
    /// Times from another clock, such as the time of day, make a report count as missing.
    pub at: Time,
}

impl LoadReport {
    /// Running and waiting requests.
    pub fn requests(&self) -> u64 {
        u64::from(self.running) + u64::from(self.waiting)
    }
}

/// The last load report, guarded by a sequence number: odd while it is being written.
#[derive(Debug)]
pub(super) struct Report {
    sequence: AtomicU64,
    at: AtomicU64,
    requests: AtomicU64,
    kv_used: AtomicU64,
    kv_total: AtomicU64,
}

impl Report {
    pub(super) fn new() -> Self {
        Report {
            sequence: AtomicU64::new(0),
            at: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            kv_used: AtomicU64::new(0),
            kv_total: AtomicU64::new(0),
        }
    }

    /// Optional numbers are stored plus one, so that 0 says "missing".
    pub(super) fn write(&self, report: Option<&LoadReport>) {
        let plus_one = |value: Option<u64>| value.map_or(0, |v| v.saturating_add(1));
        let sequence = self.sequence.load(Relaxed);
        // Odd: readers that see any of the new fields also see that a write is under way. So does
        // another writer, which leaves it at that.
        let odd = sequence | 1;
        let claimed = self.sequence.compare_exchange(sequence, odd, Acquire, Relaxed).is_ok();
        if sequence == odd || !claimed {
            return;
        }
        fence(Release);
        self.at.store(plus_one(report.map(|r| r.at.as_nanos())), Relaxed);
        let requests = report.map_or(0, |r| u64::from(r.running) << 32 | u64::from(r.waiting));
        self.requests.store(requests, Relaxed);
        self.kv_used.store(plus_one(report.and_then(|r| r.kv_used_tokens)), Relaxed);
        self.kv_total.store(plus_one(report.and_then(|r| r.kv_total_tokens)), Relaxed);
        self.sequence.store(sequence.wrapping_add(2), Release);
    }

    pub(super) fn read(&self) -> Option<LoadReport> {
        let before = self.sequence.load(Acquire);
        let at = self.at.load(Relaxed).checked_sub(1)?;
        let requests = self.requests.load(Relaxed);
        let report = LoadReport {
            running: (requests >> 32) as u32,
            waiting: requests as u32,
            kv_used_tokens: self.kv_used.load(Relaxed).checked_sub(1),
            kv_total_tokens: self.kv_total.load(Relaxed).checked_sub(1),
            at: at.into(),
        };
        // Pairs with the writer's release fence: if any field above was from a newer write, the
        // sequence read below is newer, too.
        fence(Acquire);
        (before % 2 == 0 && self.sequence.load(Relaxed) == before).then_some(report)
    }
}
