//! What the C interface adds to the Rust calls.

use std::hint::black_box;
use std::mem::{size_of, zeroed};
use std::ptr::{null, null_mut};
use std::time::Duration;

use pointsman_c::request::pointsman_request;
use pointsman_c::route::{
    pointsman_complete, pointsman_completion, pointsman_select, pointsman_selection,
};
use pointsman_c::router::{pointsman_router, pointsman_router_new, pointsman_router_set_policy};
use pointsman_c::worker::{pointsman_worker_add, pointsman_worker_spec};

use crate::support::bars::{Bar, Limit};
use crate::support::measure::{Effort, Figure, Run, Table};
use crate::support::samples::Thoroughness;
use crate::support::simple;

const TERMINATED: usize = usize::MAX;
const WORKERS: usize = 8;

/// `pointsman_select` + `pointsman_complete` and the Rust calls, on round-robin.
pub fn measure(thoroughness: Thoroughness) -> Vec<Bar> {
    let mut table = Table::default();
    let floor = table.add("floor".to_owned(), 1, simple::round_robin_floor(WORKERS));
    let rust = table.add("Rust".to_owned(), 1, simple::select_and_complete(WORKERS, "round_robin"));
    let mut call = select_and_complete("round_robin");
    let call = std::sync::Mutex::new(move |n: u64| (0..n).for_each(|_| call()));
    let c: Run<'_> = Box::new(move |operations| {
        let mut call = call.lock().expect("no thread panics");
        call(operations);
    });
    let c = table.add("C".to_owned(), 1, c);
    let slice = Duration::from_millis(2);
    table.measure(Effort { rounds: 3 * thoroughness.rounds, slice });
    for case in [floor, rust, c] {
        println!("{:<60}{:>26} ns", format!("round-robin, case {case}"), table.nanoseconds(case));
    }
    let [c, rust] = [c, rust].map(|case| table.ratio(case, floor));
    let above =
        Figure { median: c.median - rust.median, low: c.low - rust.low, high: c.high - rust.high };
    println!("instructions added by the C interface: checked by `bash ffi/checks.sh cost`");
    vec![Bar::new("C interface: floors above the Rust calls", Limit::AtMost(3.0), above)]
}

type Select = unsafe extern "C" fn(
    *const pointsman_router,
    *const pointsman_request,
    *mut pointsman_selection,
) -> i32;
type Complete =
    unsafe extern "C" fn(*const pointsman_router, u64, *const pointsman_completion) -> i32;

/// Never freed: it lives as long as the comparison.
#[derive(Clone, Copy)]
struct Handle(*mut pointsman_router);

impl Handle {
    fn pointer(self) -> *mut pointsman_router {
        self.0
    }
}

// SAFETY: the header says that any thread may use a router.
unsafe impl Send for Handle {}

/// One request by this policy among 8 workers.
pub fn select_and_complete(policy: &str) -> impl FnMut() + Send + 'static {
    let handle = router(policy);
    let mut now = 1_000_000;
    move || {
        let router = handle.pointer();
        now += 1;
        let (mut request, mut chosen, mut end) = structs();
        (request.now, end.now) = (now, now);
        // Through pointers that the compiler cannot see through, as C calls a library.
        let select = black_box(pointsman_select as Select);
        let complete = black_box(pointsman_complete as Complete);
        // SAFETY: all pointers are to live values that were set up as the header asks.
        unsafe {
            assert_eq!(select(router, &request, &mut chosen), 0);
            assert_eq!(complete(router, chosen.ticket, &end), 0);
        }
    }
}

fn router(policy: &str) -> Handle {
    let mut router = null_mut();
    // SAFETY: numbers and pointers only, for all of which zero is a value.
    let mut spec = unsafe { zeroed::<pointsman_worker_spec>() };
    spec.size = size_of::<pointsman_worker_spec>() as u32;
    (spec.group_length, spec.weight) = (TERMINATED, 1.0);
    // SAFETY: all pointers are to live values that were set up as the header asks.
    unsafe {
        assert_eq!(pointsman_router_new(null(), 0, &mut router), 0);
        let set = pointsman_router_set_policy(router, policy.as_ptr().cast(), policy.len());
        assert_eq!(set, 0);
        for worker in 0..WORKERS {
            let url = format!("http://10.0.0.{worker}:8000");
            (spec.url, spec.url_length) = (url.as_ptr().cast(), url.len());
            assert_eq!(pointsman_worker_add(router, &spec, 0, null_mut()), 0);
        }
    }
    Handle(router)
}

/// As the header's INIT macros set them up.
fn structs() -> (pointsman_request, pointsman_selection, pointsman_completion) {
    // SAFETY: numbers and pointers only, for all of which zero is a value.
    let (mut request, mut chosen, mut end) = unsafe {
        (
            zeroed::<pointsman_request>(),
            zeroed::<pointsman_selection>(),
            zeroed::<pointsman_completion>(),
        )
    };
    request.size = size_of::<pointsman_request>() as u32;
    request.cache_namespace_length = TERMINATED;
    request.routing_key_length = TERMINATED;
    request.expected_output_tokens = u32::MAX;
    chosen.size = size_of::<pointsman_selection>() as u32;
    end.size = size_of::<pointsman_completion>() as u32;
    (end.prompt_tokens, end.cached_tokens, end.completion_tokens) = (u32::MAX, u32::MAX, u32::MAX);
    (request, chosen, end)
}
