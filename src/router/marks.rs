//! Slots whose health may have changed: what requests leave to whoever holds the writer lock.
//!
//! A request marks the slot and then *tries* the lock. Whoever held it looks for marks after letting
//! it go. So no request waits, and no mark is left behind: a fence stands between the mark and the
//! attempt to lock, and another between unlocking and the look. Of any two such fences one comes first;
//! if it is the marker's, the other sees the mark; if not, the marker finds the lock free, or taken anew
//! by somebody who will look in turn.

#[cfg(not(pointsman_loom))]
use crate::pool::set::WORDS;
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

/// Few atomics keep the model checker's states few.
#[cfg(pointsman_loom)]
const WORDS: usize = 1;

/// One bit for each slot.
pub(super) struct Marks {
    words: [AtomicU64; WORDS],
    /// The time of the last mark, for the one who settles it in the marker's stead.
    at: AtomicU64,
}

impl Marks {
    pub(super) fn new() -> Self {
        Marks { words: std::array::from_fn(|_| AtomicU64::new(0)), at: AtomicU64::new(0) }
    }

    /// Marks a slot. To be followed by an attempt to lock.
    pub(super) fn mark(&self, slot: u16, now: u64) {
        self.at.store(now, Relaxed);
        if let Some(word) = self.words.get(usize::from(slot) / 64) {
            word.fetch_or(1 << (slot % 64), Release);
        }
        fence(SeqCst);
    }

    /// Takes the marks of 64 slots, as bits, each word with the number of its first slot.
    pub(super) fn take(&self) -> impl Iterator<Item = (usize, u64)> {
        let take = |(i, word): (usize, &AtomicU64)| (i * 64, word.swap(0, Acquire));
        self.words.iter().enumerate().map(take).filter(|&(_, bits)| bits != 0)
    }

    /// The time of a mark that was taken, or of a later one.
    pub(super) fn time(&self) -> u64 {
        self.at.load(Relaxed)
    }

    /// Whether nothing is left for somebody who has just let the lock go.
    pub(super) fn are_settled(&self) -> bool {
        fence(SeqCst);
        self.words.iter().all(|word| word.load(Relaxed) == 0)
    }

    /// Works under the lock while there are marks, unless another thread holds it.
    pub(super) fn settle<G>(&self, try_lock: impl Fn() -> Option<G>, mut work: impl FnMut(&mut G)) {
        while let Some(mut guard) = try_lock() {
            work(&mut guard);
            drop(guard);
            if self.are_settled() {
                break;
            }
        }
    }
}

/// Exhaustive interleavings. Run with `RUSTFLAGS="--cfg pointsman_loom" cargo test --release --lib loom`.
#[cfg(all(test, pointsman_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    use super::*;

    /// Marks and the lock. The lock is a plain flag, as relaxed as a lock may
    /// be: a failed attempt orders nothing.
    struct Model {
        marks: Marks,
        locked: AtomicBool,
    }

    struct Guard<'a>(&'a Model);

    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.locked.store(false, Release);
        }
    }

    impl Model {
        fn try_lock(&self) -> Option<Guard<'_>> {
            let taken = self.locked.compare_exchange(false, true, Acquire, Relaxed);
            taken.ok().map(|_| Guard(self))
        }

        fn settle(&self) {
            self.marks.settle(|| self.try_lock(), |guard| drop(guard.0.marks.take().count()));
        }

        /// As a request whose outcome changes a worker's health.
        fn request(&self, slot: u16) {
            self.marks.mark(slot, 1);
            self.settle();
        }

        /// As a call that changes the membership.
        fn change(&self) {
            while self.try_lock().is_none() {
                thread::yield_now();
            }
            if !self.marks.are_settled() {
                self.settle();
            }
        }
    }

    fn model(run: fn(&Model)) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.max_branches = 10_000;
        builder.check(move || {
            let model = Arc::new(Model { marks: Marks::new(), locked: AtomicBool::new(false) });
            let other = Arc::clone(&model);
            let other = thread::spawn(move || other.request(0));
            run(&model);
            other.join().expect("a request does not panic");
            assert!(model.marks.are_settled(), "a mark was left behind");
        });
    }

    /// Whoever holds the lock while a request marks, the mark is settled when both are done.
    #[test]
    fn loom_no_mark_is_left_behind_by_a_change() {
        model(Model::change);
    }

    #[test]
    fn loom_no_mark_is_left_behind_by_a_request() {
        model(|model| model.request(1));
    }
}
