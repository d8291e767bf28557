//! The boundary: every export is made by [`export!`], which converts what C passes for Rust, and turns
//! failures and panics into status codes.

use std::any::Any;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::failure::{self, Failure};
use crate::status::{POINTSMAN_INTERNAL, POINTSMAN_OK, pointsman_status};

/// Defines exported functions: description, C signature, and the safe function that does the work, with
/// the conversion of each argument.
///
/// - `now` is passed on as it is.
/// - `text(url, url_length)` calls the function `text` with these and, for messages, the name of the
///   first. See [`argument`](crate::argument) and [`handle`](crate::handle) for what there is.
/// - `input[spec]` does the same with room on the stack, for what cannot be borrowed where it lies.
macro_rules! export {
    ($(
        $(#[$attribute:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
            => $body:ident($($kind:ident $(($($plain:ident),+))? $([$($roomy:ident),+])?),*);
    )*) => {$(
        $(#[$attribute])*
        ///
        /// # Safety
        /// Pointers must be what the description says: NULL where that is allowed, else valid for
        /// the length given.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? {
            $crate::boundary::guard(move || {
                self::$body($($crate::boundary::take!($kind $(($($plain),+))? $([$($roomy),+])?)),*)
            })
        }
    )*};
}

/// One argument of an export's body.
macro_rules! take {
    ($value:ident) => { $value };
    ($kind:ident($first:ident $(, $more:ident)*)) => {
        // SAFETY: the export's `# Safety` covers what this function asks for.
        unsafe { self::$kind($first $(, $more)*, stringify!($first)) }?
    };
    ($kind:ident[$first:ident]) => {
        // A temporary of the whole call lives as long as the call.
        match &mut std::mem::MaybeUninit::uninit() {
            // SAFETY: as above.
            room => unsafe { self::$kind($first, stringify!($first), room) }?,
        }
    };
}
pub(crate) use take;

/// What an export returns to C.
pub(crate) trait Answer: Sized {
    /// What its body returns.
    type Value;
    fn of_value(value: Self::Value) -> Self;
    fn of_failure(failure: Failure) -> Self;
    fn of_panic() -> Self;
}

impl Answer for pointsman_status {
    type Value = ();

    #[inline(always)]
    fn of_value((): ()) -> Self {
        POINTSMAN_OK
    }

    #[inline(always)]
    fn of_failure(failure: Failure) -> Self {
        failure::report(failure)
    }

    fn of_panic() -> Self {
        POINTSMAN_INTERNAL
    }
}

/// Answers that have no number for a failure.
macro_rules! answer {
    ($($type:ty, $nothing:expr;)*) => {$(
        impl Answer for $type {
            type Value = $type;

            fn of_value(value: $type) -> $type {
                value
            }

            fn of_failure(_: Failure) -> $type {
                $nothing
            }

            fn of_panic() -> $type {
                $nothing
            }
        }
    )*};
}

answer! {
    (), ();
    u32, 0;
    u64, 0;
    *const c_char, c"".as_ptr();
}

/// Runs an export's body. A panic ends here.
///
/// The router stays usable: it undoes what an interrupted call had charged (its guards run while the
/// stack unwinds), and its locks do not poison.
#[inline(always)]
pub(crate) fn guard<A: Answer>(body: impl FnOnce() -> Result<A::Value, Failure>) -> A {
    let answer = || match body() {
        Ok(value) => A::of_value(value),
        Err(failure) => A::of_failure(failure),
    };
    match catch_unwind(AssertUnwindSafe(answer)) {
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
    failure::set_last_error(format_args!("internal error: {message}"));
    // A payload that panics when dropped would do so outside of the boundary.
    std::mem::forget(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::POINTSMAN_INVALID_ARGUMENT;

    mod exported {
        use super::{Failure, POINTSMAN_INVALID_ARGUMENT, pointsman_status};

        export! {
            /// Panics if asked to.
            fn pointsman_test_boundary(mode: i32) -> pointsman_status => body(mode);
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
            (status, failure::last_error_text())
        };
        assert_eq!(call(0).0, POINTSMAN_OK);
        assert_eq!(call(1), (POINTSMAN_INVALID_ARGUMENT, "mode is 1".to_owned()));
        assert_eq!(call(2), (POINTSMAN_INTERNAL, "internal error: mode is 2".to_owned()));
        assert_eq!(call(3), (POINTSMAN_INTERNAL, "internal error: plain".to_owned()));
        assert_eq!(call(4), (POINTSMAN_INTERNAL, "internal error: of unknown cause".to_owned()));
        assert_eq!(call(0).0, POINTSMAN_OK);
    }
}
