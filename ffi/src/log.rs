//! Where the library may say what it does.

use std::ffi::{c_char, c_void};
use std::fmt;

use crate::policy::Inside;
use crate::status::Text;

/// The library failed by a bug of its own.
pub const POINTSMAN_LOG_ERROR: i32 = 1;
/// A request found no worker.
pub const POINTSMAN_LOG_WARNING: i32 = 2;
/// Workers came, went or were changed; a policy was switched.
pub const POINTSMAN_LOG_INFO: i32 = 3;
/// Every decision, as the line of pointsman_selection_print.
pub const POINTSMAN_LOG_DEBUG: i32 = 4;

/// Receives messages. Called on the thread that caused the message, before the call that caused it
/// returns, possibly by several threads at once; no lock is held. message is UTF-8, NUL-terminated,
/// at most 1,023 bytes without a line end, and valid during the call only.
///
/// It must return, not throw, and must not call functions of the library that change the router
/// (they answer POINTSMAN_IN_CALLBACK).
#[allow(non_camel_case_types)]
pub type pointsman_log_callback = Option<
    unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: *const c_char, length: usize),
>;

/// A host's log.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    pub(crate) callback: pointsman_log_callback,
    pub(crate) user_data: *mut c_void,
    /// The most talkative level that the host wants; 0 wants nothing.
    pub(crate) level: i32,
}

// SAFETY: whoever registers a callback promises that any thread may call it with its user data.
unsafe impl Send for Log {}
// SAFETY: as above.
unsafe impl Sync for Log {}

impl Log {
    pub(crate) const NONE: Log = Log { callback: None, user_data: std::ptr::null_mut(), level: 0 };

    #[inline(always)]
    pub(crate) fn wants(&self, level: i32) -> bool {
        level <= self.level
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn write(&self, level: i32, message: fmt::Arguments<'_>) {
        let Some(callback) = self.callback else { return };
        let mut text = Text::<1024>::new();
        text.set(message);
        let _inside = Inside::enter();
        // SAFETY: the host's promise at registration; the text is valid and NUL-terminated.
        unsafe { callback(self.user_data, level, text.as_ptr(), text.as_bytes().len()) };
    }
}

/// Writes to a log if it wants the level; formats nothing otherwise.
macro_rules! write {
    ($log:expr, $level:ident, $($message:tt)*) => {
        if $log.wants($crate::log::level::$level) {
            $log.write($crate::log::level::$level, format_args!($($message)*));
        }
    };
}
pub(crate) use write;

/// The levels under short names, for [`write!`].
pub(crate) mod level {
    pub(crate) use super::{
        POINTSMAN_LOG_DEBUG as DEBUG, POINTSMAN_LOG_INFO as INFO, POINTSMAN_LOG_WARNING as WARNING,
    };
}
