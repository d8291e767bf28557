//! What C passes, checked once and converted for Rust: pointers, strings, arrays, and structs that say
//! their size. The functions here are the kinds of argument that [`export!`](crate::boundary) knows,
//! besides those of [`handle`](crate::handle) and those that read a certain struct.

#[macro_use]
mod sized;

use std::ffi::{CStr, c_char, c_void};

pub(crate) use sized::{
    Output, Outputs, Sized32, input, optional_input, optional_output, output, output_array,
};

use crate::failure::Failure;
use crate::special::POINTSMAN_NUL_TERMINATED;

#[inline(always)]
fn check_pointer<T>(pointer: *const T, name: &'static str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::argument(name, "is NULL"));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(name, "is not aligned"));
    }
    Ok(())
}

/// A plain output: a number or a handle.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    #[inline(always)]
    pub(crate) fn write(self, value: T) {
        // SAFETY: checked by `out`, which makes the only ones.
        unsafe { self.0.write(value) };
    }
}

/// # Safety
/// `pointer` is NULL or valid for writes until the call ends.
#[inline(always)]
pub(crate) unsafe fn out<T>(pointer: *mut T, name: &'static str) -> Result<Out<T>, Failure> {
    check_pointer(pointer, name)?;
    Ok(Out(pointer))
}

/// As [`out`], for an output that the caller may not want.
///
/// # Safety
/// As for [`out`].
pub(crate) unsafe fn optional_out<T>(
    pointer: *mut T,
    name: &'static str,
) -> Result<Option<Out<T>>, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    if pointer.is_null() { Ok(None) } else { unsafe { out(pointer, name) }.map(Some) }
}

/// Borrows an array; NULL is allowed where its length is 0.
///
/// # Safety
/// `pointer` is NULL or valid for `length` elements that outlive `'a`.
#[inline(always)]
pub(crate) unsafe fn slice<'a, T>(
    pointer: *const T,
    length: usize,
    name: &'static str,
) -> Result<&'a [T], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    check_array(pointer, length, name)?;
    // SAFETY: not NULL, aligned, no longer than memory can be, valid, as this function's `# Safety` says.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Borrows an array to be filled; NULL is allowed where its length is 0.
///
/// # Safety
/// As for [`slice`], for writing.
#[inline(always)]
pub(crate) unsafe fn slice_mut<'a, T>(
    pointer: *mut T,
    length: usize,
    name: &'static str,
) -> Result<&'a mut [T], Failure> {
    if length == 0 {
        return Ok(&mut []);
    }
    check_array(pointer.cast_const(), length, name)?;
    // SAFETY: as in `slice`, and nothing else uses the array until the call ends.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

#[inline(always)]
fn check_array<T>(pointer: *const T, length: usize, name: &'static str) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::argument(name, "is NULL, but its length is not 0"));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(name, "is not aligned"));
    }
    if length > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::argument(name, "is longer than memory can be"));
    }
    Ok(())
}

/// Borrows memory without a type.
///
/// # Safety
/// As for [`slice`].
pub(crate) unsafe fn memory<'a>(
    pointer: *const c_void,
    length: usize,
    name: &'static str,
) -> Result<&'a [u8], Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    unsafe { slice(pointer.cast(), length, name) }
}

/// Borrows memory without a type, to be filled.
///
/// # Safety
/// As for [`slice_mut`].
pub(crate) unsafe fn memory_mut<'a>(
    pointer: *mut c_void,
    length: usize,
    name: &'static str,
) -> Result<&'a mut [u8], Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    unsafe { slice_mut(pointer.cast(), length, name) }
}

/// Borrows text as bytes: of the given length, or up to its NUL.
///
/// # Safety
/// `pointer` is NULL or valid for `length` bytes, or NUL-terminated if that is the length given.
#[inline(always)]
pub(crate) unsafe fn bytes<'a>(
    pointer: *const u8,
    length: usize,
    name: &'static str,
) -> Result<&'a [u8], Failure> {
    if length != POINTSMAN_NUL_TERMINATED {
        // SAFETY: the caller keeps this function's `# Safety`.
        return unsafe { slice(pointer, length, name) };
    }
    if pointer.is_null() {
        return Ok(&[]);
    }
    // SAFETY: not NULL, and NUL-terminated, as this function's `# Safety` says.
    Ok(unsafe { CStr::from_ptr(pointer.cast()) }.to_bytes())
}

/// Borrows text; NULL is the empty text.
///
/// # Safety
/// As for [`bytes`].
pub(crate) unsafe fn text<'a>(
    pointer: *const c_char,
    length: usize,
    name: &'static str,
) -> Result<&'a str, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    let bytes = unsafe { bytes(pointer.cast(), length, name) }?;
    std::str::from_utf8(bytes).map_err(|_| Failure::argument(name, "is not UTF-8"))
}

/// As [`text`]; NULL stands for none.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn optional_text<'a>(
    pointer: *const c_char,
    length: usize,
    name: &'static str,
) -> Result<Option<&'a str>, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    let text = unsafe { text(pointer, length, name) }?;
    Ok(Some(text).filter(|_| !pointer.is_null()))
}

/// Room of the caller's for text and a final NUL, and an output for the length without the NUL.
pub(crate) struct TextRoom {
    pointer: *mut u8,
    capacity: usize,
    length: Option<Out<usize>>,
}

/// # Safety
/// `pointer` is NULL or valid for writes of `capacity` bytes, `length` is NULL or valid for writes,
/// until the call ends.
pub(crate) unsafe fn text_room(
    pointer: *mut c_char,
    capacity: usize,
    length: *mut usize,
    name: &'static str,
) -> Result<TextRoom, Failure> {
    if capacity != 0 {
        check_array(pointer.cast_const(), capacity, name)?;
    }
    // SAFETY: the caller keeps this function's `# Safety`.
    let length = unsafe { optional_out(length, "length") }?;
    Ok(TextRoom { pointer: pointer.cast(), capacity, length })
}

impl TextRoom {
    /// Copies text and a final NUL, and says the length. If there is too little room, nothing but the
    /// length is written.
    pub(crate) fn write(self, text: &str) -> Result<(), Failure> {
        let enough = self.capacity > text.len();
        if enough {
            // SAFETY: checked by `text_room`; there is room for the text and one byte more.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr(), self.pointer, text.len());
                self.pointer.add(text.len()).write(0);
            }
        }
        if let Some(length) = self.length {
            length.write(text.len());
        }
        if enough { Ok(()) } else { Err(Failure::BufferTooSmall(text.len() + 1)) }
    }
}
