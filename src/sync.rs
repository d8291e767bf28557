//! The one place that decides between std's atomics and loom's.
//!
//! The switch is a cfg of its own because other crates give `cfg(loom)` meanings of theirs.

/// As `std::sync::atomic`.
pub(crate) mod atomic {
    #[cfg(pointsman_loom)]
    pub(crate) use loom::sync::atomic::*;
    #[cfg(not(pointsman_loom))]
    pub(crate) use std::sync::atomic::*;
}

pub(crate) use atomic::{AtomicU64, Ordering, fence};

/// Tells the processor, or the model checker, that this thread waits for another.
#[inline(always)]
pub(crate) fn spin() {
    #[cfg(pointsman_loom)]
    loom::thread::yield_now();
    #[cfg(not(pointsman_loom))]
    std::hint::spin_loop();
}
