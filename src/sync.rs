//! The atomics of the prefix tree: the standard library's, or loom's in its model checker.
//!
//! The switch is a cfg of its own because other crates give `cfg(loom)` meanings of theirs.

#[cfg(pointsman_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(pointsman_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Tells the processor, or the model checker, that this thread waits for another.
#[inline(always)]
pub(crate) fn spin() {
    #[cfg(pointsman_loom)]
    loom::thread::yield_now();
    #[cfg(not(pointsman_loom))]
    std::hint::spin_loop();
}
