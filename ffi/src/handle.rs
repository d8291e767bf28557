//! The objects whose pointers the host holds: routers, builders and fingerprinters.

use crate::callback::in_callback;
use crate::failure::Failure;

/// An object whose pointer the caller holds, with a number that tells its kind.
pub(crate) trait Handle {
    const MAGIC: u64;
    fn magic(&self) -> u64;
    fn spoil(&mut self);
}

/// Implements [`Handle`] for a struct with a field `magic`.
macro_rules! handle {
    ($type:ty, $magic:literal) => {
        impl $crate::handle::Handle for $type {
            const MAGIC: u64 = u64::from_be_bytes(*$magic);
            #[inline(always)]
            fn magic(&self) -> u64 {
                self.magic
            }
            fn spoil(&mut self) {
                // Volatile: a last write to memory that is about to be freed counts as dead, but a
                // callback that runs while the object goes may read it.
                // SAFETY: a field of a live object.
                unsafe { std::ptr::write_volatile(&mut self.magic, 0) };
            }
        }
    };
}

/// Gives an object to the caller.
pub(crate) fn hand_out<T: Handle>(object: T) -> *mut T {
    Box::into_raw(Box::new(object))
}

/// Borrows what a handle stands for. A handle of another kind or one that was freed is refused where
/// that can be seen.
///
/// # Safety
/// The pointer is NULL or points to a live object of this library.
#[inline(always)]
pub(crate) unsafe fn handle<'a, T: Handle>(
    pointer: *const T,
    name: &'static str,
) -> Result<&'a T, Failure> {
    if pointer.is_null() {
        return Err(Failure::argument(name, "is NULL"));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(name, "is not a valid handle"));
    }
    // SAFETY: not NULL, aligned, alive, as this function's `# Safety` says.
    let object = unsafe { &*pointer };
    if object.magic() != T::MAGIC {
        return Err(Failure::argument(name, "is not a valid handle"));
    }
    Ok(object)
}

/// As [`handle`]; NULL stands for none.
///
/// # Safety
/// As for [`handle`].
pub(crate) unsafe fn optional_handle<'a, T: Handle>(
    pointer: *const T,
    name: &'static str,
) -> Result<Option<&'a T>, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    if pointer.is_null() { Ok(None) } else { unsafe { handle(pointer, name) }.map(Some) }
}

/// As [`handle`], for a call that callbacks must not make: it may take the router's writer lock, or use
/// an object that is being built or freed. In a callback the pointer is not looked at.
///
/// # Safety
/// As for [`handle`].
pub(crate) unsafe fn outside<'a, T: Handle>(
    pointer: *const T,
    name: &'static str,
) -> Result<&'a T, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    if in_callback() { Err(Failure::InCallback) } else { unsafe { handle(pointer, name) } }
}

/// As [`handle`], for a call that changes what the handle stands for.
///
/// # Safety
/// As for [`handle`], and no other call uses the handle at the same time.
pub(crate) unsafe fn exclusive<'a, T: Handle>(
    pointer: *mut T,
    name: &'static str,
) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`; `handle` has checked the pointer.
    unsafe {
        handle(pointer.cast_const(), name)?;
        Ok(&mut *pointer)
    }
}

/// As [`exclusive`], for a call that callbacks must not make.
///
/// # Safety
/// As for [`exclusive`].
pub(crate) unsafe fn exclusive_outside<'a, T: Handle>(
    pointer: *mut T,
    name: &'static str,
) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    if in_callback() { Err(Failure::InCallback) } else { unsafe { exclusive(pointer, name) } }
}

/// Takes a handle's object back; NULL and what is no live handle are refused.
///
/// # Safety
/// As for [`handle`], and no other call uses the handle, now or later.
pub(crate) unsafe fn taken<T: Handle>(
    pointer: *mut T,
    name: &'static str,
) -> Result<Box<T>, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`; every handle was made by `Box::into_raw`,
    // and this one is alive.
    let mut object = unsafe {
        handle(pointer.cast_const(), name)?;
        Box::from_raw(pointer)
    };
    object.spoil();
    Ok(object)
}

/// As [`taken`]. Inside a callback nothing is taken: the callback may be one of this very object, and
/// a leak is the lesser evil.
///
/// # Safety
/// As for [`taken`].
pub(crate) unsafe fn taken_outside<T: Handle>(
    pointer: *mut T,
    name: &'static str,
) -> Result<Box<T>, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    if in_callback() { Err(Failure::InCallback) } else { unsafe { taken(pointer, name) } }
}
