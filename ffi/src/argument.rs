//! Arguments, checked once: pointers, strings, arrays, and structs that say their size.

use std::ffi::{CStr, c_char};
use std::mem::{MaybeUninit, size_of};

use crate::status::Failure;

/// A length that says: up to the terminating NUL.
pub(crate) const NUL_TERMINATED: usize = usize::MAX;

/// More than any version of any struct will have: a size above it is what lay in memory before.
const LARGEST: usize = 4096;

/// A struct that crosses the boundary. Its first field is its size as the caller's header has it.
///
/// # Safety
/// The type is `repr(C)`, begins with a `u32`, is valid for every bit pattern, and fields were only
/// ever added at its end, from `FIRST_SIZE` bytes on, where zero means "not set".
pub(crate) unsafe trait Sized32: Copy {
    /// The size that the struct had when it was first published.
    const FIRST_SIZE: usize;
}

/// Declares structs whose published size has not changed yet.
macro_rules! sized {
    ($($type:ty),*) => {$(
        // SAFETY: `repr(C)`, begins with `size: u32`, and has only numbers, nullable pointers and
        // nullable function pointers.
        unsafe impl $crate::argument::Sized32 for $type {
            const FIRST_SIZE: usize = size_of::<$type>();
        }
    )*};
}

/// Reads the size of the caller's struct, after checking the pointer.
///
/// # Safety
/// `pointer` is NULL, or points to a struct of the size that it begins with.
#[inline(always)]
unsafe fn size_of_caller<T: Sized32>(
    pointer: *const T,
    name: &'static str,
) -> Result<usize, Failure> {
    if pointer.is_null() {
        return Err(Failure::argument(name, "is NULL"));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(name, "is not aligned"));
    }
    // SAFETY: not NULL, aligned, and begins with its size by the caller's promise.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if !(T::FIRST_SIZE..=LARGEST).contains(&size) {
        return Err(Failure::argument(
            name,
            "has a size that no version of this struct has; set it up with its INIT macro",
        ));
    }
    Ok(size)
}

/// Borrows a struct that the caller filled. An older caller's shorter one is completed in `scratch`;
/// of a newer caller's longer one the surplus must be zero, as this version cannot honour it.
///
/// # Safety
/// As for [`size_of_caller`], and the struct outlives `'a`.
#[inline(always)]
pub(crate) unsafe fn input<'a, T: Sized32>(
    pointer: *const T,
    name: &'static str,
    scratch: &'a mut MaybeUninit<T>,
) -> Result<&'a T, Failure> {
    // SAFETY: the caller's promise.
    let size = unsafe { size_of_caller(pointer, name) }?;
    if size == size_of::<T>() {
        // SAFETY: not NULL, aligned, valid for its size, which is that of T.
        return Ok(unsafe { &*pointer });
    }
    // SAFETY: the caller's promise, and the size was checked.
    unsafe { input_of_other_size(pointer, size, name, scratch) }
}

/// # Safety
/// As for [`input`]; `size` is what the struct says.
#[cold]
unsafe fn input_of_other_size<'a, T: Sized32>(
    pointer: *const T,
    size: usize,
    name: &'static str,
    scratch: &'a mut MaybeUninit<T>,
) -> Result<&'a T, Failure> {
    let known = size.min(size_of::<T>());
    // SAFETY: the struct is `size` bytes long by the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), size) };
    if bytes.iter().skip(known).any(|&byte| byte != 0) {
        return Err(Failure::argument(
            name,
            "sets fields that this version of the library does not know",
        ));
    }
    *scratch = MaybeUninit::zeroed();
    // SAFETY: both are valid for `known` bytes and do not overlap; every bit pattern is a T.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), scratch.as_mut_ptr().cast::<u8>(), known);
        Ok(scratch.assume_init_ref())
    }
}

/// A struct that the caller wants filled: checked before anything happens, written at the end.
pub(crate) struct Output<T> {
    pointer: *mut T,
    size: usize,
}

impl<T: Sized32> Output<T> {
    /// # Safety
    /// As for [`size_of_caller`], and the struct may be written until the call ends.
    #[inline(always)]
    pub(crate) unsafe fn new(pointer: *mut T, name: &'static str) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        let size = unsafe { size_of_caller(pointer.cast_const(), name) }?;
        Ok(Output { pointer, size })
    }

    /// Writes as much of the value as the caller's struct has room for. The caller's size stays.
    pub(crate) fn write(self, value: T) {
        let known = self.size.min(size_of::<T>());
        let skip = size_of::<u32>();
        let from = std::ptr::from_ref(&value).cast::<u8>();
        // SAFETY: both are valid for `known` bytes, which is more than the size field.
        unsafe {
            let (from, to) = (from.add(skip), self.pointer.cast::<u8>().add(skip));
            std::ptr::copy_nonoverlapping(from, to, known - skip);
        }
    }
}

impl<T: Sized32> Output<T> {
    /// Changes some fields and leaves the others as they are. Fields that the caller's struct lacks
    /// are lost.
    pub(crate) fn change(self, change: impl FnOnce(&mut T)) {
        let mut value = MaybeUninit::<T>::zeroed();
        let known = self.size.min(size_of::<T>());
        // SAFETY: both are valid for `known` bytes and do not overlap; every bit pattern is a T.
        unsafe {
            let (theirs, ours) = (self.pointer.cast::<u8>(), value.as_mut_ptr().cast::<u8>());
            std::ptr::copy_nonoverlapping(theirs, ours, known);
        }
        // SAFETY: filled above, or zero, which is a valid T.
        let mut value = unsafe { value.assume_init() };
        change(&mut value);
        self.write(value);
    }
}

/// A plain output: a number or a handle.
pub(crate) struct Place<T>(*mut T);

impl<T> Place<T> {
    /// # Safety
    /// `pointer` is NULL or valid for writes until the call ends.
    #[inline(always)]
    pub(crate) unsafe fn new(pointer: *mut T, name: &'static str) -> Result<Self, Failure> {
        if pointer.is_null() {
            return Err(Failure::argument(name, "is NULL"));
        }
        if !pointer.is_aligned() {
            return Err(Failure::argument(name, "is not aligned"));
        }
        Ok(Place(pointer))
    }

    /// The same for an output that the caller may not want.
    ///
    /// # Safety
    /// As for [`Place::new`].
    pub(crate) unsafe fn optional(
        pointer: *mut T,
        name: &'static str,
    ) -> Result<Option<Self>, Failure> {
        // SAFETY: the caller's promise.
        if pointer.is_null() { Ok(None) } else { unsafe { Place::new(pointer, name) }.map(Some) }
    }

    #[inline(always)]
    pub(crate) fn write(self, value: T) {
        // SAFETY: checked in `new`.
        unsafe { self.0.write(value) };
    }
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
    // SAFETY: not NULL, aligned, no longer than memory can be, valid by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// As [`slice`] for arrays with nothing odd about them; `None` for all others, wrong or not.
///
/// # Safety
/// As for [`slice`].
#[inline(always)]
pub(crate) unsafe fn plain_slice<'a, T>(pointer: *const T, length: usize) -> Option<&'a [T]> {
    if length > isize::MAX as usize / size_of::<T>() || pointer.is_null() || !pointer.is_aligned() {
        return None;
    }
    // SAFETY: not NULL, aligned, no longer than memory can be, valid by the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Whether all of these addresses have the strictest alignment of anything that crosses: tested
/// together, as each test of its own would cost every request.
#[inline(always)]
pub(crate) fn are_aligned<const N: usize>(addresses: [usize; N]) -> bool {
    addresses.into_iter().fold(0, |all, one| all | one) % align_of::<u64>() == 0
}

/// Whether a struct is of this version's size, so that it can be used as it lies.
///
/// # Safety
/// `pointer` is NULL, or aligned and points to a struct of the size that it begins with.
#[inline(always)]
pub(crate) unsafe fn is_current<T: Sized32>(pointer: *const T) -> bool {
    const { assert!(align_of::<T>() <= align_of::<u64>()) };
    // SAFETY: the caller's promise.
    !pointer.is_null() && unsafe { pointer.cast::<u32>().read() } as usize == size_of::<T>()
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
    // SAFETY: as in `slice`, and nobody else uses the array until the call ends.
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

/// Borrows text as bytes: as long as told, or up to its NUL.
///
/// # Safety
/// `pointer` is NULL or valid for `length` bytes, or NUL-terminated if that is the length given.
#[inline(always)]
pub(crate) unsafe fn bytes<'a>(
    pointer: *const u8,
    length: usize,
    name: &'static str,
) -> Result<&'a [u8], Failure> {
    if length != NUL_TERMINATED {
        // SAFETY: the caller's promise.
        return unsafe { slice(pointer, length, name) };
    }
    if pointer.is_null() {
        return Ok(&[]);
    }
    // SAFETY: not NULL, and NUL-terminated by the caller's promise.
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
    // SAFETY: the caller's promise.
    let bytes = unsafe { bytes(pointer.cast(), length, name) }?;
    std::str::from_utf8(bytes).map_err(|_| Failure::argument(name, "is not UTF-8"))
}

/// As [`text`], and NULL stands for none.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn text_or_none<'a>(
    pointer: *const c_char,
    length: usize,
    name: &'static str,
) -> Result<Option<&'a str>, Failure> {
    // SAFETY: the caller's promise.
    let text = unsafe { text(pointer, length, name) }?;
    Ok(Some(text).filter(|_| !pointer.is_null()))
}

/// Copies text and a final NUL into the caller's buffer, and says the length without the NUL.
///
/// If the buffer is too small, nothing but the length is written.
///
/// # Safety
/// `buffer` is NULL or valid for `capacity` bytes; `length` is NULL or valid.
pub(crate) unsafe fn copy_text(
    text: &[u8],
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (buffer, length) = unsafe {
        (slice_mut(buffer.cast::<u8>(), capacity, "buffer")?, Place::optional(length, "length")?)
    };
    let enough = buffer.len() > text.len();
    if enough {
        let (target, rest) = buffer.split_at_mut(text.len());
        target.copy_from_slice(text);
        rest.iter_mut().take(1).for_each(|end| *end = 0);
    }
    if let Some(length) = length {
        length.write(text.len());
    }
    if enough { Ok(()) } else { Err(Failure::BufferTooSmall(text.len() + 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct that has grown by one field since its first version.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Grown {
        size: u32,
        old: u32,
        new: u64,
    }

    // SAFETY: as `sized!` has it.
    unsafe impl Sized32 for Grown {
        const FIRST_SIZE: usize = 8;
    }

    #[derive(Clone, Copy)]
    #[repr(C)]
    struct Newer {
        known: Grown,
        unknown: u64,
    }

    fn read(pointer: *const Grown) -> Result<Grown, String> {
        let mut scratch = MaybeUninit::uninit();
        // SAFETY: the tests below pass NULL, or structs as long as they say.
        unsafe { input(pointer, "it", &mut scratch) }.copied().map_err(|error| error.to_string())
    }

    #[test]
    fn an_older_caller_leaves_new_fields_unset() {
        let old: [u64; 1] = [u64::from_ne_bytes([8, 0, 0, 0, 7, 0, 0, 0])];
        let grown = read(old.as_ptr().cast()).unwrap();
        assert_eq!(grown, Grown { size: 8, old: 7, new: 0 });
    }

    #[test]
    fn a_newer_caller_must_leave_unknown_fields_unset() {
        let known = Grown { size: 24, old: 1, new: 2 };
        let newer = Newer { known, unknown: 0 };
        assert_eq!(read(std::ptr::from_ref(&newer).cast()), Ok(known));
        let newer = Newer { known, unknown: 1 };
        let error = read(std::ptr::from_ref(&newer).cast()).unwrap_err();
        assert!(error.contains("does not know"), "{error}");
    }

    #[test]
    fn sizes_that_never_were_and_bad_pointers_are_refused() {
        for size in [0, 1, 7, 4097, u32::MAX] {
            let error = read(&Grown { size, old: 0, new: 0 }).unwrap_err();
            assert!(error.contains("INIT macro"), "{error}");
        }
        assert_eq!(read(std::ptr::null()), Err("it is NULL".to_owned()));
        let odd = std::ptr::without_provenance(0x1001);
        assert_eq!(read(odd), Err("it is not aligned".to_owned()));
    }

    #[test]
    fn an_output_is_cut_to_what_the_caller_has_room_for() {
        let mut small = [8u32, 1, 2, 3];
        // SAFETY: the array is longer than the size that it begins with.
        let output = unsafe { Output::<Grown>::new(small.as_mut_ptr().cast(), "out") };
        // Alignment is that of the whole struct; an array of u32 may not have it.
        if let Ok(output) = output {
            output.write(Grown { size: 16, old: 9, new: u64::MAX });
            assert_eq!(small, [8, 9, 2, 3]);
        }
    }
}
