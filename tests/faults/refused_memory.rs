//! An allocator that has nothing to give.
//!
//! A router takes its memory when it is made; where that fails, making it is an error. From then on
//! routing needs none. (Membership changes do allocate; there Rust's own rule holds, which is to end
//! the process.)

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use pointsman::{Outcome, Request, Role, Router, Usage};

use super::{SECOND, assert_recovered};
use crate::support::{POLICIES, add_many, config};

thread_local! {
    /// Allocations of at least this many bytes are refused in this thread.
    static REFUSED_FROM: Cell<usize> = const { Cell::new(usize::MAX) };
}

pub struct Refusing;

impl Refusing {
    fn grants(size: usize) -> bool {
        size < REFUSED_FROM.get()
    }
}

// SAFETY: a call is either passed on to the system's allocator as it stands or answered with null, which
// the trait allows for every allocation; the thread-local cell is initialised by a constant.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !Self::grants(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !Self::grants(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !Self::grants(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Runs `work` while this thread gets no allocation of `size` bytes or more.
fn refusing<T>(size: usize, work: impl FnOnce() -> T) -> T {
    REFUSED_FROM.set(size);
    let result = work();
    REFUSED_FROM.set(usize::MAX);
    result
}

#[test]
fn a_tree_that_does_not_fit_is_an_error() {
    let mut config = config("least_work");
    config.tree.budget_bytes = 256 << 20;
    let error = refusing(16 << 20, || Router::new(config.clone())).map(drop).unwrap_err();
    assert!(error.to_string().contains("set a smaller budget"), "{error}");
    config.tree.budget_bytes = 1 << 20;
    assert!(refusing(16 << 20, || Router::new(config)).is_ok());
}

#[test]
fn routing_goes_on_without_memory() {
    let prompts: Vec<String> = (0..50).map(|i| format!("{i:08}").repeat(i * 30)).collect();
    for name in POLICIES {
        let router = Router::new(config(name)).unwrap();
        let workers = add_many(&router, Role::Regular, 8);
        add_many(&router, Role::Prefill, 2);
        add_many(&router, Role::Decode, 2);
        refusing(0, || {
            for (round, prompt) in prompts.iter().cycle().take(2_000).enumerate() {
                let request = Request::text(prompt);
                let selection = router.select(&request).unwrap();
                selection.first_token(Some(7)).unwrap();
                let outcome = if round % 9 == 0 { Outcome::ClientError } else { Outcome::Success };
                selection.complete(outcome, Usage::default()).unwrap();
                drop(router.select_pair(&request).unwrap());
            }
        });
        assert_recovered(&router, &workers, SECOND);
    }
}
