//! Telling a host that a place may have come free.

use std::ffi::c_void;

use crate::callback::Callback;

/// Says that a place may have come free. Called by the thread whose call gave it back, before that call
/// returns, possibly by several threads at once; no lock is held.
///
/// It must return, not throw. It does best to wake whoever selects, by an eventfd or an event of the host's
/// loop. Functions that change or list the workers, or switch policies, answer POINTSMAN_IN_CALLBACK.
#[allow(non_camel_case_types)]
pub type pointsman_room_callback = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// A host that waits for room.
#[derive(Clone, Copy)]
pub(crate) struct Room(Callback<unsafe extern "C" fn(*mut c_void)>);

impl Room {
    pub(crate) fn new(callback: pointsman_room_callback, user_data: *mut c_void) -> Option<Self> {
        Some(Room(Callback::new(callback?, user_data)))
    }

    pub(crate) fn tell(&self) {
        // SAFETY: the host's promise at registration.
        self.0.call(|function, user_data| unsafe { function(user_data) });
    }
}
