//! Handles: what keeps a router alive as long as there are selections of its, without an exchange per
//! selection to count them.
//!
//! Each stripe has a reference count of its own, and takes references from it by the batch: what is
//! lent comes out of the batch, which only who has entered the stripe touches. A handle gives its
//! reference back to the count itself, from whatever thread. So a count is never below the handles that
//! are out plus what is left of the batch, plus one for the stripe; it falls to zero when the router has
//! gone, which gives back the latter two, and the last handle has.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use super::core::Core;
use super::local::Local;
use crate::stripe::Striped;
use crate::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

/// References taken at a time.
const BATCH: usize = if cfg!(pointsman_loom) { 2 } else { 1 << 16 };

/// The router's side: a lender per stripe.
pub(super) struct Handles {
    lenders: Striped<Lender<Arc<Core>>>,
}

impl Handles {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        Handles { lenders: Striped::new(|_| Lender::new(Arc::clone(core))) }
    }

    /// A handle, from the batch of the stripe that the caller is in, if it is in one.
    #[inline(always)]
    pub(super) fn lend(&self, local: Option<&Local>) -> Handle {
        Handle(match local {
            // SAFETY: a stripe's `Local` is only within reach of the one thread that has entered it.
            Some(local) => unsafe { self.lenders.of(local.stripe).lend() },
            None => self.lenders.mine().lend_one(),
        })
    }
}

/// A selection's reference to its router.
pub(super) struct Handle(Lent<Arc<Core>>);

impl Deref for Handle {
    type Target = Core;

    #[inline]
    fn deref(&self) -> &Core {
        &self.0
    }
}

/// A value and how often it is referred to; on lines of its own, as threads count there.
#[repr(align(128))]
struct Counted<T> {
    count: AtomicUsize,
    value: T,
}

struct Lender<T> {
    counted: NonNull<Counted<T>>,
    /// References taken and not lent yet.
    batch: AtomicUsize,
}

struct Lent<T> {
    counted: NonNull<Counted<T>>,
}

// SAFETY: these give out `&T` and drop the `T` in whatever thread is the last, as `Arc` does.
unsafe impl<T: Send + Sync> Send for Lender<T> {}
// SAFETY: as above; the batch is an atomic.
unsafe impl<T: Send + Sync> Sync for Lender<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Send for Lent<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Lent<T> {}

impl<T> Lender<T> {
    fn new(value: T) -> Self {
        let counted = Box::new(Counted { count: AtomicUsize::new(1), value });
        Lender { counted: NonNull::from(Box::leak(counted)), batch: AtomicUsize::new(0) }
    }

    /// Lends a reference of the batch.
    ///
    /// # Safety
    /// One thread at a time: two could lend the same reference.
    #[inline(always)]
    unsafe fn lend(&self) -> Lent<T> {
        let left = match self.batch.load(Relaxed) {
            0 => self.take(BATCH),
            left => left,
        };
        self.batch.store(left - 1, Relaxed);
        Lent { counted: self.counted }
    }

    /// Lends a reference that is not of the batch.
    fn lend_one(&self) -> Lent<T> {
        self.take(1);
        Lent { counted: self.counted }
    }

    /// Relaxed: the caller holds a reference already, as with `Arc`.
    #[cold]
    fn take(&self, references: usize) -> usize {
        // SAFETY: the stripe's own reference keeps the allocation alive until this is dropped.
        unsafe { self.counted.as_ref() }.count.fetch_add(references, Relaxed);
        references
    }
}

impl<T> Deref for Lent<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the reference that this was lent keeps the allocation alive.
        unsafe { &self.counted.as_ref().value }
    }
}

impl<T> Drop for Lender<T> {
    fn drop(&mut self) {
        // SAFETY: the stripe's own reference and the rest of the batch end here.
        unsafe { give_back(self.counted, self.batch.load(Relaxed) + 1) };
    }
}

impl<T> Drop for Lent<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the one reference that this was lent ends here.
        unsafe { give_back(self.counted, 1) };
    }
}

/// # Safety
/// The caller owns this many of the counted references, and uses none of them again.
#[inline]
unsafe fn give_back<T>(counted: NonNull<Counted<T>>, references: usize) {
    // SAFETY: the caller's references keep the allocation alive up to here.
    let count = unsafe { &counted.as_ref().count };
    // Release: whoever drops the value sees all that this reference was used for.
    if count.fetch_sub(references, Release) == references {
        fence(Acquire);
        // SAFETY: nobody has a reference any more, and the pointer comes from `Box::leak`.
        unsafe { drop_last(counted) };
    }
}

/// # Safety
/// The allocation was made by a `Box`, and nobody refers to it any more.
#[cold]
unsafe fn drop_last<T>(counted: NonNull<Counted<T>>) {
    // SAFETY: as the caller says.
    drop(unsafe { Box::from_raw(counted.as_ptr()) });
}

#[cfg(all(test, pointsman_loom))]
mod tests {
    use super::*;
    use loom::thread;

    /// The lender and two that were lent to go in any order: the value is dropped once, by the last.
    #[test]
    fn loom_the_last_one_drops_the_value() {
        loom::model(|| {
            let value = loom::sync::Arc::new(());
            let lender = Lender::new(loom::sync::Arc::clone(&value));
            // SAFETY: nobody else knows the lender.
            let (first, second) = unsafe { (lender.lend(), lender.lend()) };
            let third = lender.lend_one();
            let threads =
                [thread::spawn(move || drop((first, third))), thread::spawn(move || drop(second))];
            drop(lender);
            threads.into_iter().for_each(|thread| thread.join().expect("dropping does not panic"));
            assert_eq!(loom::sync::Arc::strong_count(&value), 1);
        });
    }
}
