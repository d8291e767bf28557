//! What went wrong, in words.

use std::ffi::c_char;

use crate::callback;
use crate::failure::{self, Failure};
use crate::status::{self, pointsman_status};

export! {
    /// A few words for a status code; "unknown status" for a number that is none. Never NULL; static.
    fn pointsman_status_string(status: pointsman_status) -> *const c_char => status_string(status);

    /// The message of the last call on this thread that failed; empty if none did. Never NULL.
    ///
    /// Names the argument, field, worker or position that the status code cannot name. Calls that
    /// succeed leave it alone. The text belongs to the thread and is valid until the next call that
    /// fails on this thread; at most 1,023 bytes, UTF-8, NUL-terminated.
    fn pointsman_last_error() -> *const c_char => last_error();

    /// Whether this thread is inside a callback of the library, of any router: 1, else 0. What may
    /// be called there is said under "Callbacks" at the top of this header.
    fn pointsman_in_callback() -> u32 => in_callback();
}

fn in_callback() -> Result<u32, Failure> {
    Ok(callback::in_callback().into())
}

fn status_string(status: pointsman_status) -> Result<*const c_char, Failure> {
    Ok(status::name_of(status).as_ptr())
}

fn last_error() -> Result<*const c_char, Failure> {
    Ok(failure::last_error())
}
