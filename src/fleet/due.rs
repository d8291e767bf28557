//! When maintenance is due: the one number that every request compares with its time.
//!
//! A request whose outcome may change a worker's health notes that here, and then *tries* the writer
//! lock. Where another thread holds it, the request goes on: what it noted stays due until a call has
//! looked at every worker after it, so the next call does that, at the latest.

use crate::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed, Release},
};

/// How far apart threads may read one clock, in nanoseconds. A time further back than that says that
/// the clock was set back.
pub(crate) const CLOCK_SLACK: u64 = 60 * 1_000_000_000;

/// A time that something is due at.
pub(crate) struct Due {
    at: AtomicU64,
    /// The time of what was noted last.
    noted: AtomicU64,
    /// Nanoseconds from one look to the next, at most.
    every: u64,
    /// The largest distance from now at which it can lie.
    furthest: u64,
}

impl Due {
    /// Due at once, and then at least once in `every` nanoseconds.
    pub(crate) fn new(every: u64) -> Self {
        let (at, noted) = (AtomicU64::new(0), AtomicU64::new(0));
        Due { at, noted, every, furthest: every.saturating_add(CLOCK_SLACK) }
    }

    /// Whether it is due. It never lies further ahead than `every`; where it does, the clock was set
    /// back. One comparison: a time that has passed wraps around to a very large distance.
    #[inline]
    pub(crate) fn has_come(&self, now: u64) -> bool {
        self.at.load(Relaxed).wrapping_sub(now).wrapping_sub(1) >= self.furthest
    }

    /// Makes it due at once, for something that happened at this time. Release: the thread that begins
    /// next sees what the caller has done before, and so does each that noted something since. So a
    /// read-modify-write: a store would hide an earlier one.
    pub(crate) fn note(&self, now: u64) {
        self.noted.store(now, Relaxed);
        self.at.swap(0, Release);
    }

    /// Makes it due at this time, unless it is earlier.
    pub(crate) fn by(&self, at: u64) {
        self.at.fetch_min(at, Relaxed);
    }

    /// Called *before* the workers are looked at. Returns the time of what was noted last, if anything was;
    /// what is noted from here on stays due.
    pub(crate) fn begin(&self, now: u64) -> Option<u64> {
        let noted = self.at.swap(now.saturating_add(self.every), AcqRel) == 0;
        noted.then(|| self.noted.load(Relaxed))
    }

    /// As [`Due::begin`], for one thread only: false if another one is faster, or it is not due.
    pub(crate) fn claim(&self, now: u64) -> bool {
        let at = self.at.load(Relaxed);
        let next = now.saturating_add(self.every);
        self.has_come(now) && self.at.compare_exchange(at, next, Relaxed, Relaxed).is_ok()
    }
}

/// Exhaustive interleavings. Run with `RUSTFLAGS="--cfg pointsman_loom" cargo test --release --lib loom`.
#[cfg(all(test, pointsman_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, Ordering::Acquire};
    use loom::thread;

    use super::*;

    /// A worker's failures, what was published of them, and the lock: a plain flag, as relaxed as a
    /// lock may be, so that a failed attempt orders nothing.
    struct Model {
        due: Due,
        locked: AtomicBool,
        failures: AtomicU64,
        published: AtomicU64,
    }

    impl Model {
        fn try_maintain(&self) {
            if self.locked.compare_exchange(false, true, Acquire, Relaxed).is_ok() {
                self.due.begin(1);
                self.published.store(self.failures.load(Relaxed), Relaxed);
                self.locked.store(false, Release);
            }
        }

        fn fail(&self) {
            self.failures.fetch_add(1, Relaxed);
            self.due.note(1);
            self.try_maintain();
        }
    }

    /// Two failures at once: both are published, or the next call finds that maintenance is due, and
    /// then they are.
    #[test]
    fn loom_no_failure_is_left_behind() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let model = Arc::new(Model {
                due: Due::new(1_000),
                locked: AtomicBool::new(false),
                failures: AtomicU64::new(0),
                published: AtomicU64::new(0),
            });
            let other = Arc::clone(&model);
            let other = thread::spawn(move || other.fail());
            model.fail();
            other.join().expect("a failure does not panic");
            if model.due.has_come(1) {
                model.try_maintain();
            }
            assert_eq!(model.published.load(Relaxed), 2, "a failure was left behind");
        });
    }
}
