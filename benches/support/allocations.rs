//! A global allocator that counts what the calling thread does with it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { allocations: 0, frees: 0, bytes: 0 }) };
}

/// The system's allocator, counting.
pub struct Counting;

/// Calls so far. A reallocation is an allocation and a free.
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
        COUNTS.with(Cell::get)
    }

    /// What has been counted since `earlier`, per operation.
    pub fn per_operation(self, earlier: Counts, operations: u64) -> (f64, f64) {
        let share = |now: u64, then: u64| (now - then) as f64 / operations as f64;
        (share(self.allocations, earlier.allocations), share(self.frees, earlier.frees))
    }
}

fn count(allocations: u64, frees: u64, bytes: i64) {
    COUNTS.with(|counts| {
        let Counts { allocations: a, frees: f, bytes: b } = counts.get();
        counts.set(Counts { allocations: a + allocations, frees: f + frees, bytes: b + bytes });
    });
}

// SAFETY: every call is passed on to `System` unchanged. Counting touches a thread-local that needs
// no initialisation and has no destructor, so it neither allocates nor fails at a thread's end.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, 0, layout.size() as i64);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    // Not left to the default, which would clear memory that the system hands out clean.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, 0, layout.size() as i64);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, 1, -(layout.size() as i64));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, 1, size as i64 - layout.size() as i64);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
