//! Once warm, a selection through the adapter allocates the future that `async_trait` boxes, and a
//! completion allocates nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/engine.rs"]
mod engine;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use engine::{complete, engines, ready};
use pointsman::PolicyConfig;
use pointsman::adapter::{Adapter, RoutingPolicy};
use serde_json::json;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator as it is; counting does not allocate, as
// the counter is a constant-initialised thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the pointer came from `alloc` above, so from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATIONS.get();
    let result = run();
    (result, ALLOCATIONS.get() - before)
}

#[test]
fn one_box_per_call_once_warm() {
    let threshold = PolicyConfig::threshold(Default::default());
    let named = ["random", "round_robin", "power_of_two", "cache_aware"].map(PolicyConfig::named);
    for config in named.into_iter().chain([threshold]) {
        let adapter = Adapter::from_config(&config).unwrap();
        let (_, workers) = engines("http://w", 16);
        let (_, decode) = engines("http://d", 4);
        let request = json!({
            "model": "m",
            "messages": [{"role": "user", "content": "Tell me about the weather. ".repeat(200)}],
        });
        let call = || {
            let ((p, d), pair) =
                allocations(|| ready(adapter.select_pair(&workers, &decode, &request)).unwrap());
            let (single, one) =
                allocations(|| ready(adapter.select_single(&workers, &request)).unwrap());
            let ((), done) = allocations(|| complete(&adapter, &[&single, &p, &d]));
            (one, pair, done)
        };
        for _ in 0..1000 {
            call();
        }
        for _ in 0..1000 {
            assert_eq!(call(), (1, 1, 0), "{}", adapter.name());
        }
    }
}
