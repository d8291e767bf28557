//! Striping: how threads that count the same thing use different cache lines.
//!
//! A [`Striped`] value holds one copy per stripe, each on cache lines of its own. A thread finds
//! its stripe by hashing the address of a thread-local byte: that costs no registration, no
//! mutable global and no destructor, so it survives `fork` and `dlclose`. Two threads may share a
//! stripe; every copy is therefore made of atomics, and sharing costs speed, never correctness.

use crossbeam_utils::CachePadded;

/// Stripes per striped value: a power of two, about twice the threads that usually contend.
pub(crate) const STRIPES: usize = 32;

/// The stripe that a thread has entered: its number, or none where it is a spare one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

impl Place {
    /// Of a spare stripe, which has no number.
    pub(crate) const SPARE: Place = Place(STRIPES);

    pub(crate) fn numbered(stripe: usize) -> Self {
        Place(stripe)
    }

    /// The stripe's number.
    #[inline]
    pub(crate) fn number(self) -> Option<usize> {
        if self.0 < STRIPES { Some(self.0) } else { None }
    }

    /// A number in any case, for copies that any thread may use.
    #[inline]
    pub(crate) fn any(self) -> usize {
        self.0
    }
}

thread_local! {
    static MARK: u8 = const { 0 };
}

/// A number that no other living thread has.
#[inline]
pub(crate) fn thread_mark() -> u64 {
    MARK.with(|mark| std::ptr::from_ref(mark) as u64)
}

/// The calling thread's stripe, below [`STRIPES`].
///
/// Thread stacks, and with them thread-local blocks, lie whole pages apart; Fibonacci hashing of
/// the page number spreads such arithmetic sequences evenly.
#[inline]
pub(crate) fn current() -> usize {
    let page = thread_mark() >> 12;
    (page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - STRIPES.trailing_zeros())) as usize
}

/// One `T` per stripe, each on its own cache lines.
#[derive(Debug)]
pub(crate) struct Striped<T> {
    stripes: Box<[CachePadded<T>; STRIPES]>,
}

impl<T> Striped<T> {
    /// Bytes allocated.
    pub(crate) const BYTES: usize = STRIPES * size_of::<CachePadded<T>>();

    /// A copy per stripe, made by `make` from the stripe's number.
    pub(crate) fn new(mut make: impl FnMut(usize) -> T) -> Self {
        Striped { stripes: Box::new(std::array::from_fn(|i| CachePadded::new(make(i)))) }
    }

    /// The calling thread's copy.
    #[inline]
    pub(crate) fn mine(&self) -> &T {
        self.of(current())
    }

    /// The copy of this stripe.
    #[inline]
    pub(crate) fn of(&self, stripe: usize) -> &T {
        // Numbers of stripes are below STRIPES; the mask lets the compiler see it.
        &self.stripes[stripe & (STRIPES - 1)]
    }

    /// Every copy, for sums.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.stripes.iter().map(|stripe| &**stripe)
    }
}
