//! One value per stripe, for one thread at a time.
//!
//! A thread *enters* its stripe, or the next one that is free, and has that stripe's value to itself
//! until it leaves: everything there is read and written by plain loads and stores. Entering takes one
//! atomic read-modify-write, leaving one store. Where every stripe is taken, the thread enters a spare
//! one, which is made when it is first needed and kept. So a thread waits neither for another one nor,
//! inside a callback, for itself.

use std::iter::successors;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use crossbeam_utils::CachePadded;

use crate::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::cell::UnsafeCell;
use crate::sync::stripe::{self, Place, STRIPES};

/// One `T` per stripe, each on its own cache lines and entered by one thread at a time.
pub(crate) struct Exclusive<T> {
    stripes: Box<[CachePadded<Stripe<T>>; STRIPES]>,
    spares: Spares<T>,
    make: Box<dyn Fn(Place) -> T + Send + Sync>,
}

/// A list that grows at its end.
type Spares<T> = OnceLock<Box<Spare<T>>>;

struct Spare<T> {
    stripe: CachePadded<Stripe<T>>,
    next: Spares<T>,
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
    /// It stands for the one mutable reference.
    exclusive: PhantomData<&'a mut T>,
}

impl<T> Exclusive<T> {
    /// A value per stripe, made by `make` from the stripe.
    pub(crate) fn new(make: impl Fn(Place) -> T + Send + Sync + 'static) -> Self {
        let stripe = |number| CachePadded::new(Stripe::new(make(Place::numbered(number))));
        let stripes = Box::new(std::array::from_fn(stripe));
        Exclusive { stripes, spares: OnceLock::new(), make: Box::new(make) }
    }

    /// Enters the calling thread's stripe, or the first free one after it, or a spare one.
    #[inline]
    pub(crate) fn enter(&self) -> Entered<'_, T> {
        let mine = stripe::current();
        match self.stripes[mine % STRIPES].enter() {
            Some(entered) => entered,
            None => self.enter_another(mine),
        }
    }

    #[cold]
    fn enter_another(&self, mine: usize) -> Entered<'_, T> {
        let (before, after) = self.stripes.split_at(mine);
        let free = after.iter().chain(before).find_map(|stripe| stripe.enter());
        free.unwrap_or_else(|| self.enter_spare())
    }

    fn enter_spare(&self) -> Entered<'_, T> {
        let mut link = &self.spares;
        loop {
            let spare = link.get_or_init(|| {
                let stripe = CachePadded::new(Stripe::new((self.make)(Place::SPARE)));
                Box::new(Spare { stripe, next: OnceLock::new() })
            });
            match spare.stripe.enter() {
                Some(entered) => return entered,
                None => link = &spare.next,
            }
        }
    }

    /// Enters one stripe after the other, the spare ones, too, leaving out those that are taken.
    pub(crate) fn enter_each(&self) -> impl Iterator<Item = Entered<'_, T>> {
        let spares = successors(self.spares.get(), |spare| spare.next.get());
        let all = self.stripes.iter().chain(spares.map(|spare| &spare.stripe));
        all.filter_map(|stripe| stripe.enter())
    }
}

impl<T> Stripe<T> {
    fn new(value: T) -> Self {
        Stripe { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The thread that turns `taken` from false to true has the value to itself. Acquire pairs with
    /// the release of the one before, so everything done to the value is seen.
    #[inline]
    fn enter(&self) -> Option<Entered<'_, T>> {
        let won = self.taken.compare_exchange(false, true, Acquire, Relaxed).is_ok();
        if won { Some(Entered { stripe: self, exclusive: PhantomData }) } else { None }
    }
}

impl<T> Deref for Entered<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this thread turned `taken` to true, and no other one does before this is dropped.
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
