//! Striping for one thread at a time: under one try-lock, everything by plain loads and stores.
//!
//! An [`Exclusive`] value holds one copy per stripe. A thread *enters* its stripe, or the next one
//! that is free, and has that copy to itself until it leaves. Entering takes one exchange, leaving
//! one store; nobody ever waits, neither for another thread nor, inside a callback, for itself.

use std::ops::{Deref, DerefMut};

use crossbeam_utils::CachePadded;

use crate::stripe::{self, STRIPES};
use crate::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::cell::UnsafeCell;

/// One `T` per stripe, each on its own cache lines and entered by one thread at a time.
pub(crate) struct Exclusive<T> {
    stripes: Box<[CachePadded<Stripe<T>>]>,
}

struct Stripe<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `taken` hands the value from thread to thread, one at a time: see `Stripe::enter`.
unsafe impl<T: Send> Sync for Stripe<T> {}

/// A stripe that the thread has to itself until this is dropped.
pub(crate) struct Entered<'a, T> {
    stripe: &'a Stripe<T>,
}

impl<T> Exclusive<T> {
    /// A copy per stripe, made by `make` from the stripe's number.
    pub(crate) fn new(make: impl FnMut(usize) -> T) -> Self {
        let stripes = (0..STRIPES).map(make);
        Exclusive { stripes: stripes.map(|value| CachePadded::new(Stripe::new(value))).collect() }
    }

    /// Enters the calling thread's stripe, or the first free one after it; `None` if every one of
    /// them is taken.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Entered<'_, T>> {
        let mine = stripe::current();
        match self.stripes.get(mine)?.enter() {
            Some(entered) => Some(entered),
            None => self.enter_after(mine),
        }
    }

    #[cold]
    fn enter_after(&self, mine: usize) -> Option<Entered<'_, T>> {
        let (before, after) = self.stripes.split_at_checked(mine + 1)?;
        after.iter().chain(before).find_map(|stripe| stripe.enter())
    }

    /// Enters one stripe after the other, leaving out those that are taken.
    pub(crate) fn enter_each(&self) -> impl Iterator<Item = Entered<'_, T>> {
        self.stripes.iter().filter_map(|stripe| stripe.enter())
    }
}

impl<T> Stripe<T> {
    fn new(value: T) -> Self {
        Stripe { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Whoever turns `taken` from false to true has the value to itself. Acquire pairs with the
    /// release of the one before, so everything done to the value is seen.
    #[inline]
    fn enter(&self) -> Option<Entered<'_, T>> {
        let won = self.taken.compare_exchange(false, true, Acquire, Relaxed).is_ok();
        if won { Some(Entered { stripe: self }) } else { None }
    }
}

impl<T> Deref for Entered<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this thread turned `taken` to true, and nobody else does before this is dropped.
        self.stripe.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for Entered<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` keeps this thread from having a second reference.
        self.stripe.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for Entered<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.stripe.taken.store(false, Release);
    }
}

#[cfg(all(test, pointsman_loom))]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// Two threads and one stripe: each that enters has the value to itself and sees what the one
    /// before has done; loom's cell fails the test where two accesses overlap.
    #[test]
    fn loom_one_thread_at_a_time() {
        loom::model(|| {
            let stripe = Arc::new(Stripe::new(0));
            let work = |stripe: &Stripe<u32>| match stripe.enter() {
                Some(mut entered) => {
                    *entered += 1;
                    1
                }
                None => 0,
            };
            let other = thread::spawn({
                let stripe = Arc::clone(&stripe);
                move || work(&stripe)
            });
            let done = work(&stripe) + other.join().expect("entering does not panic");
            let value = *stripe.enter().expect("both have left");
            assert!(done >= 1);
            assert_eq!(value, done);
        });
    }
}
