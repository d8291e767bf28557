//! Cache lines of atomics: allocation and prefetch, the two places that need `unsafe`.

use crate::sync::AtomicU64;

/// Words per line.
pub(super) const WORDS: usize = 8;

/// One cache line.
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [AtomicU64; WORDS]);

/// `count` lines of zeros. The system hands out their pages when they are first touched.
#[cfg(not(pointsman_loom))]
pub(super) fn allocate(count: usize) -> Box<[Line]> {
    let Ok(layout) = std::alloc::Layout::array::<Line>(count) else {
        return Box::default();
    };
    if layout.size() == 0 {
        return Box::default();
    }
    // SAFETY: the layout's size is not zero.
    let memory = unsafe { std::alloc::alloc_zeroed(layout) };
    if memory.is_null() {
        std::alloc::handle_alloc_error(layout);
    }
    let lines = std::ptr::slice_from_raw_parts_mut(memory.cast::<Line>(), count);
    // SAFETY: `memory` comes from the global allocator with the layout of `[Line; count]`, as Box
    // frees it, nobody else has it, and all-zero bytes are a valid `AtomicU64`.
    unsafe { Box::from_raw(lines) }
}

/// `count` lines of zeros.
#[cfg(pointsman_loom)]
pub(super) fn allocate(count: usize) -> Box<[Line]> {
    (0..count).map(|_| Line(std::array::from_fn(|_| AtomicU64::new(0)))).collect()
}

/// Asks for a line that is needed soon.
#[inline(always)]
pub(super) fn prefetch(line: &Line) {
    #[cfg(all(target_arch = "x86_64", not(miri), not(pointsman_loom)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetching has no effect on memory, and SSE is part of x86-64.
        unsafe { _mm_prefetch(std::ptr::from_ref(line).cast::<i8>(), _MM_HINT_T0) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri), not(pointsman_loom))))]
    let _ = line;
}
