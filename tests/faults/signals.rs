//! A process that is interrupted ten thousand times a second.

#![cfg(unix)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pointsman::{Outcome, Request, Role, Usage};

use super::{SECOND, assert_recovered};
use crate::support::{POLICIES, add_many, router};

static SIGNALS: AtomicU64 = AtomicU64::new(0);
const REQUESTS: u32 = if cfg!(debug_assertions) { 20_000 } else { 200_000 };

extern "C" fn count(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Relaxed);
}

/// Lets the process be interrupted every 100 microseconds, or no longer.
fn alarm(every_microseconds: libc::suseconds_t) {
    let interval = libc::timeval { tv_sec: 0, tv_usec: every_microseconds };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the handler only adds to an atomic, which is safe at any point of any thread; `timer` is
    // a valid structure that the call only reads, and the old value is not asked for.
    unsafe {
        libc::signal(libc::SIGALRM, count as *const () as libc::sighandler_t);
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
    }
}

#[test]
fn interruptions_leave_nothing_behind() {
    let before = SIGNALS.load(Relaxed);
    alarm(100);
    for name in POLICIES {
        let router = router(name);
        let workers = add_many(&router, Role::Regular, 4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for i in 0..REQUESTS {
                        let request = Request::text("a prompt of some length, the same each time");
                        let selection = router.select(&request).unwrap();
                        if i % 2 == 0 {
                            selection.complete(Outcome::Success, Usage::default()).unwrap();
                        }
                    }
                });
            }
        });
        assert_recovered(&router, &workers, 1_000 * SECOND);
    }
    alarm(0);
    assert!(SIGNALS.load(Relaxed) > before, "no signal arrived");
}
