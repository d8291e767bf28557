//! Cache lines of atomics: allocation and prefetch, the places that need `unsafe`.

use crate::sync::AtomicU64;

/// Words per line.
pub(super) const WORDS: usize = 8;

/// One cache line.
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [AtomicU64; WORDS]);

/// A fixed number of lines, all zero at first.
///
/// The memory is asked for with a small alignment and the first whole line in it is found here: only
/// then does the system's allocator hand out fresh pages that cost nothing until they are touched. An
/// allocation aligned to a line would be cleared, and so made resident, at once.
pub(crate) struct Lines {
    #[cfg(not(pointsman_loom))]
    memory: std::ptr::NonNull<u8>,
    /// The first whole line in the memory.
    #[cfg(not(pointsman_loom))]
    first: std::ptr::NonNull<Line>,
    #[cfg(not(pointsman_loom))]
    count: usize,
    #[cfg(pointsman_loom)]
    lines: Box<[Line]>,
}

#[cfg(not(pointsman_loom))]
impl Lines {
    /// Bytes taken besides the lines themselves.
    pub(crate) const SLACK: usize = align_of::<Line>();

    /// `None` if the system cannot allocate this much.
    pub(crate) fn new(count: usize) -> Option<Lines> {
        // SAFETY: the layout's size is at least the slack, so it is not zero.
        let memory = unsafe { std::alloc::alloc_zeroed(Self::layout(count)?) };
        let memory = std::ptr::NonNull::new(memory)?;
        ask_for_large_pages(memory, count * size_of::<Line>());
        let skip = memory.as_ptr().addr().wrapping_neg() % align_of::<Line>();
        // SAFETY: `skip` is less than the slack, so this stays inside the allocation.
        let first = unsafe { memory.add(skip) }.cast();
        Some(Lines { memory, first, count })
    }

    fn layout(count: usize) -> Option<std::alloc::Layout> {
        let bytes = count.checked_mul(size_of::<Line>())?.checked_add(Self::SLACK)?;
        std::alloc::Layout::from_size_align(bytes, align_of::<AtomicU64>()).ok()
    }
}

#[cfg(not(pointsman_loom))]
impl std::ops::Deref for Lines {
    type Target = [Line];

    #[inline(always)]
    fn deref(&self) -> &[Line] {
        // SAFETY: `first` is aligned and less than the slack into the allocation, so `count` lines from
        // there lie inside it; all-zero bytes are valid atomics, and the memory is this value's own.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

#[cfg(not(pointsman_loom))]
impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.count) {
            // SAFETY: `memory` was allocated with this layout, which depends on the count alone.
            unsafe { std::alloc::dealloc(self.memory.as_ptr(), layout) };
        }
    }
}

// SAFETY: the memory is owned, and everything in it is atomic.
#[cfg(not(pointsman_loom))]
unsafe impl Send for Lines {}
// SAFETY: as for `Send`.
#[cfg(not(pointsman_loom))]
unsafe impl Sync for Lines {}

#[cfg(pointsman_loom)]
impl Lines {
    pub(crate) const SLACK: usize = 0;

    pub(crate) fn new(count: usize) -> Option<Lines> {
        let line = |_| Line(std::array::from_fn(|_| AtomicU64::new(0)));
        Some(Lines { lines: (0..count).map(line).collect() })
    }
}

#[cfg(pointsman_loom)]
impl std::ops::Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        &self.lines
    }
}

/// Asks the system to back the memory by large pages where it can. Lines are reached at random, so that
/// with small pages each would cost a walk through the page table, and the first touch of each page,
/// thousands of them, a fault.
#[cfg(all(target_os = "linux", not(miri), not(pointsman_loom)))]
fn ask_for_large_pages(memory: std::ptr::NonNull<u8>, bytes: usize) {
    const LARGE: usize = 2 << 20;
    let skip = memory.as_ptr().addr().wrapping_neg() % LARGE;
    let whole = bytes.saturating_sub(skip) / LARGE * LARGE;
    if whole > 0 {
        // SAFETY: the range lies inside the allocation, as `skip + whole <= bytes`, and the advice
        // changes nothing about what the memory holds. Its failure changes nothing at all.
        unsafe { libc::madvise(memory.as_ptr().add(skip).cast(), whole, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(all(not(all(target_os = "linux", not(miri))), not(pointsman_loom)))]
fn ask_for_large_pages(_memory: std::ptr::NonNull<u8>, _bytes: usize) {}

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
