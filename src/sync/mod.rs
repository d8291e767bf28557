//! What threads share, and how: the one place that decides between std's atomics and loom's.
//!
//! - [`stripe`]: one copy per group of threads, so that threads do not share cache lines.
//! - [`exclusive`]: such copies for one thread at a time.
//!
//! The switch is a cfg of its own because other crates give `cfg(loom)` meanings of theirs.

pub(crate) mod exclusive;
pub(crate) mod stripe;

/// As `std::sync::atomic`.
pub(crate) mod atomic {
    #[cfg(pointsman_loom)]
    pub(crate) use loom::sync::atomic::*;
    #[cfg(not(pointsman_loom))]
    pub(crate) use std::sync::atomic::*;
}

pub(crate) use atomic::{AtomicU64, Ordering, fence};

/// As `loom::cell`: a cell whose accesses the model checker sees.
pub(crate) mod cell {
    #[cfg(pointsman_loom)]
    pub(crate) use loom::cell::UnsafeCell;

    #[cfg(not(pointsman_loom))]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    #[cfg(not(pointsman_loom))]
    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}

/// Tells the processor, or the model checker, that this thread waits for another.
#[inline(always)]
pub(crate) fn spin() {
    #[cfg(pointsman_loom)]
    loom::thread::yield_now();
    #[cfg(not(pointsman_loom))]
    std::hint::spin_loop();
}
