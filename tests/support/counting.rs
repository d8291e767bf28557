//! A global allocator that counts: what each thread does with it, so that tests do not disturb each
//! other, and the bytes that all threads hold. It can refuse, too.

#![allow(dead_code, reason = "each program reads a part")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

thread_local! {
    static COUNTS: Cell<Counts> =
        const { Cell::new(Counts { allocations: 0, frees: 0, bytes: 0 }) };
}

thread_local! {
    /// Allocations of at least this many bytes are refused in this thread.
    static REFUSED_FROM: Cell<usize> = const { Cell::new(usize::MAX) };
}

static LIVE: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, counting.
pub struct Counting {
    /// Whether [`live_bytes`] is counted as well, at one atomic addition per call.
    pub live: bool,
    /// Whether [`refusing`] is heeded, at one comparison per call.
    pub refuses: bool,
}

/// What one thread has asked for so far. A reallocation is an allocation and a free.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub allocations: u64,
    pub frees: u64,
    /// Bytes allocated and not freed; less than nothing for a thread that frees what others made.
    pub bytes: i64,
}

impl Counts {
    /// What the calling thread has counted.
    pub fn now() -> Self {
        COUNTS.get()
    }

    /// What has been counted since `earlier`, per operation.
    pub fn per_operation(self, earlier: Counts, operations: u64) -> (f64, f64) {
        let share = |now: u64, then: u64| (now - then) as f64 / operations as f64;
        (share(self.allocations, earlier.allocations), share(self.frees, earlier.frees))
    }
}

impl Counting {
    fn grants(&self, size: usize) -> bool {
        !self.refuses || size < REFUSED_FROM.get()
    }

    fn count(&self, allocations: u64, frees: u64, bytes: i64) {
        let counts = COUNTS.get();
        COUNTS.set(Counts {
            allocations: counts.allocations + allocations,
            frees: counts.frees + frees,
            bytes: counts.bytes + bytes,
        });
        if self.live {
            LIVE.fetch_add(bytes, Relaxed);
        }
    }
}

// SAFETY: a call is either passed on to the system's allocator as it stands or answered with null, which
// the trait allows for every allocation; neither allocates, as the thread-local cells are initialised by
// constants and have no destructors.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !self.grants(layout.size()) {
            return std::ptr::null_mut();
        }
        self.count(1, 0, layout.size() as i64);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    // Not left to the default, which would clear memory that the system hands out clean.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !self.grants(layout.size()) {
            return std::ptr::null_mut();
        }
        self.count(1, 0, layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        self.count(0, 1, -(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.grants(size) {
            return std::ptr::null_mut();
        }
        self.count(1, 1, size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// What this thread does during `work`.
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, Counts) {
    let before = Counts::now();
    let result = work();
    let now = Counts::now();
    let counts = Counts {
        allocations: now.allocations - before.allocations,
        frees: now.frees - before.frees,
        bytes: now.bytes - before.bytes,
    };
    (result, counts)
}

/// Runs `work` while this thread gets no allocation of `size` bytes or more.
pub fn refusing<T>(size: usize, work: impl FnOnce() -> T) -> T {
    REFUSED_FROM.set(size);
    let result = work();
    REFUSED_FROM.set(usize::MAX);
    result
}

/// Bytes that all threads hold.
pub fn live_bytes() -> i64 {
    LIVE.load(Relaxed)
}
