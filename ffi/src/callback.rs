//! The host's own functions: called with their data, and marked as running.

use std::cell::Cell;
use std::ffi::c_void;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Marks the thread as being inside a callback until dropped.
pub(crate) struct Inside;

impl Inside {
    pub(crate) fn enter() -> Self {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get().saturating_sub(1)));
    }
}

/// Whether a callback is running on this thread.
pub(crate) fn in_callback() -> bool {
    DEPTH.with(Cell::get) > 0
}

/// A function of the host's and the data that it is to be called with.
#[derive(Clone, Copy)]
pub(crate) struct Callback<F> {
    function: F,
    user_data: *mut c_void,
}

// SAFETY: a host that registers a callback promises that any thread may call it with its data.
unsafe impl<F: Send> Send for Callback<F> {}
// SAFETY: as above, several threads at a time.
unsafe impl<F: Sync> Sync for Callback<F> {}

impl<F: Copy> Callback<F> {
    pub(crate) fn new(function: F, user_data: *mut c_void) -> Self {
        Callback { function, user_data }
    }

    pub(crate) fn call(&self, call: impl FnOnce(F, *mut c_void)) {
        let _inside = Inside::enter();
        call(self.function, self.user_data);
    }
}
