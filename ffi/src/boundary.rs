//! The one way out: every export is made by [`export!`], which holds the panic boundary.

use std::any::Any;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::status::{self, Failure, POINTSMAN_INTERNAL, POINTSMAN_OK, pointsman_status};

/// Defines exported functions: documentation, C signature, and the function that does the work.
macro_rules! export {
    ($(
        $(#[$attribute:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? => $body:path;
    )*) => {$(
        $(#[$attribute])*
        ///
        /// # Safety
        /// Pointers must be what the description says: NULL where that is allowed, else valid for
        /// the length given.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? {
            $crate::boundary::guard(move || {
                // SAFETY: passes on the caller's promise, which is the same.
                #[allow(unused_unsafe)]
                unsafe { $body($($argument),*) }
            })
        }
    )*};
}

/// What an export returns to C.
pub(crate) trait Answer: Sized {
    fn of_panic() -> Self;
}

/// What an export's body comes to, and how that becomes the answer.
pub(crate) trait Body<A> {
    fn answer(self) -> A;
}

impl<A: Answer> Body<A> for A {
    #[inline(always)]
    fn answer(self) -> A {
        self
    }
}

impl Body<pointsman_status> for Result<(), Failure> {
    #[inline(always)]
    fn answer(self) -> pointsman_status {
        match self {
            Ok(()) => POINTSMAN_OK,
            Err(failure) => status::report(&failure),
        }
    }
}

impl Answer for pointsman_status {
    fn of_panic() -> Self {
        POINTSMAN_INTERNAL
    }
}

impl Answer for () {
    fn of_panic() {}
}

impl Answer for u32 {
    fn of_panic() -> u32 {
        0
    }
}

impl Answer for u64 {
    fn of_panic() -> u64 {
        0
    }
}

impl Answer for *const c_char {
    fn of_panic() -> *const c_char {
        c"".as_ptr()
    }
}

/// Runs an export's body. A panic ends here.
///
/// The router stays usable: it undoes what an interrupted call had charged (its guards run while the
/// stack unwinds), and its locks do not poison.
#[inline(always)]
pub(crate) fn guard<A: Answer, B: Body<A>>(body: impl FnOnce() -> B) -> A {
    match catch_unwind(AssertUnwindSafe(|| body().answer())) {
        Ok(answer) => answer,
        Err(payload) => {
            note(payload);
            A::of_panic()
        }
    }
}

/// Keeps the panic's message as the thread's last error.
#[cold]
#[inline(never)]
fn note(payload: Box<dyn Any + Send>) {
    let message = if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.as_str()
    } else {
        "of unknown cause"
    };
    status::set_last_error(format_args!("internal error: {message}"));
    // A payload that panics when dropped would do so outside of the boundary.
    std::mem::forget(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    mod exported {
        use super::{Failure, pointsman_status};
        use crate::status::POINTSMAN_INVALID_ARGUMENT;

        export! {
            /// Panics if asked to.
            fn pointsman_test_boundary(mode: i32) -> pointsman_status => body;
        }

        fn body(mode: i32) -> Result<(), Failure> {
            match mode {
                0 => Ok(()),
                1 => Err(Failure::argument("mode", "is 1")),
                2 => panic!("mode is {mode}"),
                3 => panic!("plain"),
                _ => std::panic::panic_any(POINTSMAN_INVALID_ARGUMENT),
            }
        }
    }

    #[test]
    fn every_way_out_is_a_status() {
        let call = |mode| {
            // SAFETY: takes no pointers.
            let status = unsafe { exported::pointsman_test_boundary(mode) };
            (status, status::last_error_text())
        };
        assert_eq!(call(0).0, POINTSMAN_OK);
        assert_eq!(call(1), (status::POINTSMAN_INVALID_ARGUMENT, "mode is 1".to_owned()));
        assert_eq!(call(2), (POINTSMAN_INTERNAL, "internal error: mode is 2".to_owned()));
        assert_eq!(call(3), (POINTSMAN_INTERNAL, "internal error: plain".to_owned()));
        assert_eq!(call(4), (POINTSMAN_INTERNAL, "internal error: of unknown cause".to_owned()));
        assert_eq!(call(0).0, POINTSMAN_OK);
    }
}
