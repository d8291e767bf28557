//! Structs that say their size, so that programs built with another version of the header work.

use std::mem::{MaybeUninit, size_of};

use crate::failure::Failure;

/// More than any version of any struct will have: a size above it is uninitialised memory.
const LARGEST: usize = 4096;

const UNKNOWN_FIELDS: &str = "sets fields that this version of the library does not know";

/// A struct that crosses the boundary. Its first field is its size as the caller's header has it.
///
/// # Safety
/// The type is `repr(C)`, begins with a `u32`, is valid for every bit pattern, and fields were only
/// ever added at its end, from `FIRST_SIZE` bytes on, where zero means "not set".
pub(crate) unsafe trait Sized32: Copy {
    /// The size that the struct had when it was first published.
    const FIRST_SIZE: usize;

    /// The field that a later version may give a meaning.
    #[inline(always)]
    fn reserved(&self) -> u32 {
        0
    }
}

/// Declares structs whose published size has not changed yet, and which of them have a reserved field.
macro_rules! sized {
    ($($type:ident $(.$reserved:ident)?),*) => {$(
        // SAFETY: `repr(C)`, begins with `size: u32`, and has only numbers, nullable pointers and
        // nullable function pointers.
        unsafe impl $crate::argument::Sized32 for $type {
            const FIRST_SIZE: usize = size_of::<$type>();
            $(
                #[inline(always)]
                fn reserved(&self) -> u32 {
                    self.$reserved
                }
            )?
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
    super::check_pointer(pointer, name)?;
    // SAFETY: not NULL, aligned, and begins with its size, as this function's `# Safety` says.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if size != size_of::<T>() {
        check_other_size(size, T::FIRST_SIZE, name)?;
    }
    Ok(size)
}

#[cold]
fn check_other_size(size: usize, first: usize, name: &'static str) -> Result<(), Failure> {
    if (first..=LARGEST).contains(&size) {
        return Ok(());
    }
    let problem = "has a size that no version of this struct has; set it up with its INIT macro";
    Err(Failure::argument(name, problem))
}

/// Borrows a struct that the caller filled. An older caller's shorter one is completed in `room`; of a
/// newer caller's longer one the surplus must be zero, as this version cannot honour it.
///
/// # Safety
/// As for [`size_of_caller`], and the struct outlives `'a`.
#[inline(always)]
pub(crate) unsafe fn input<'a, T: Sized32>(
    pointer: *const T,
    name: &'static str,
    room: &'a mut MaybeUninit<T>,
) -> Result<&'a T, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    let size = unsafe { size_of_caller(pointer, name) }?;
    let it = if size == size_of::<T>() {
        // SAFETY: not NULL, aligned, valid for its size, which is that of T.
        unsafe { &*pointer }
    } else {
        // SAFETY: the caller keeps this function's `# Safety`, and the size was checked.
        unsafe { input_of_other_size(pointer, size, name, room) }?
    };
    if it.reserved() == 0 { Ok(it) } else { Err(Failure::argument(name, UNKNOWN_FIELDS)) }
}

/// # Safety
/// As for [`input`]; `size` is what the struct says.
#[cold]
unsafe fn input_of_other_size<'a, T: Sized32>(
    pointer: *const T,
    size: usize,
    name: &'static str,
    room: &'a mut MaybeUninit<T>,
) -> Result<&'a T, Failure> {
    let known = size.min(size_of::<T>());
    // SAFETY: the struct is `size` bytes long, as this function's `# Safety` says.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), size) };
    if bytes.iter().skip(known).any(|&byte| byte != 0) {
        return Err(Failure::argument(name, UNKNOWN_FIELDS));
    }
    *room = MaybeUninit::zeroed();
    // SAFETY: both are valid for `known` bytes and do not overlap; every bit pattern is a T.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr().cast::<u8>(), known);
        Ok(room.assume_init_ref())
    }
}

/// As [`input`]; NULL stands for none.
///
/// # Safety
/// As for [`input`].
#[inline(always)]
pub(crate) unsafe fn optional_input<'a, T: Sized32>(
    pointer: *const T,
    name: &'static str,
    room: &'a mut MaybeUninit<T>,
) -> Result<Option<&'a T>, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    if pointer.is_null() { Ok(None) } else { unsafe { input(pointer, name, room) }.map(Some) }
}

/// A struct that the caller wants filled: checked before anything happens, written at the end.
pub(crate) struct Output<T> {
    pointer: *mut T,
    size: usize,
}

/// # Safety
/// As for [`size_of_caller`], and the struct may be written until the call ends.
#[inline(always)]
pub(crate) unsafe fn output<T: Sized32>(
    pointer: *mut T,
    name: &'static str,
) -> Result<Output<T>, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    let size = unsafe { size_of_caller(pointer.cast_const(), name) }?;
    Ok(Output { pointer, size })
}

/// As [`output`], for a struct that the caller may not want.
///
/// # Safety
/// As for [`output`].
pub(crate) unsafe fn optional_output<T: Sized32>(
    pointer: *mut T,
    name: &'static str,
) -> Result<Option<Output<T>>, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    if pointer.is_null() { Ok(None) } else { unsafe { output(pointer, name) }.map(Some) }
}

impl<T: Sized32> Output<T> {
    /// Writes what `value` makes, straight to where it belongs if the caller's struct is of this
    /// version.
    #[inline(always)]
    pub(crate) fn write_with(self, value: impl Fn() -> T) {
        if self.size == size_of::<T>() {
            // SAFETY: checked in `output`; the size that the value begins with is the same.
            unsafe { self.pointer.write(value()) };
        } else {
            self.write_other_size(value);
        }
    }

    #[cold]
    #[inline(never)]
    fn write_other_size(self, value: impl Fn() -> T) {
        self.write(value());
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

    /// Changes some fields and leaves the others as they are. Fields that the caller's struct lacks
    /// are lost.
    pub(crate) fn change(self, change: impl FnOnce(&mut T)) {
        let mut value = MaybeUninit::<T>::zeroed();
        let known = self.size.min(size_of::<T>());
        // SAFETY: both are valid for `known` bytes and do not overlap; every bit pattern is a T.
        let mut value = unsafe {
            let (theirs, ours) = (self.pointer.cast::<u8>(), value.as_mut_ptr().cast::<u8>());
            std::ptr::copy_nonoverlapping(theirs, ours, known);
            value.assume_init()
        };
        change(&mut value);
        self.write(value);
    }

    /// Whether both would be written to the same struct.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.pointer, other.pointer)
    }
}

/// An array of structs that the caller wants filled.
pub(crate) struct Outputs<T> {
    first: Option<Output<T>>,
    capacity: usize,
}

/// NULL is allowed where the capacity is 0.
///
/// # Safety
/// `pointer` is NULL or valid for writes of `capacity` structs that lie as far apart as the first one
/// says, until the call ends.
pub(crate) unsafe fn output_array<T: Sized32>(
    pointer: *mut T,
    capacity: usize,
    name: &'static str,
) -> Result<Outputs<T>, Failure> {
    if capacity == 0 {
        return Ok(Outputs { first: None, capacity });
    }
    // SAFETY: the caller keeps this function's `# Safety`.
    let first = unsafe { output(pointer, name) }?;
    if first.size % align_of::<T>() != 0 {
        return Err(Failure::argument(name, "has elements of an odd size"));
    }
    if capacity > isize::MAX as usize / first.size {
        return Err(Failure::argument(name, "is longer than memory can be"));
    }
    Ok(Outputs { first: Some(first), capacity })
}

impl<T: Sized32> Outputs<T> {
    /// Writes these, `count` in all, or nothing where there is too little room. Each gets the size of the
    /// first.
    pub(crate) fn write(
        self,
        count: usize,
        values: impl Iterator<Item = T>,
    ) -> Result<(), Failure> {
        if count > self.capacity {
            return Err(Failure::ArrayTooSmall(count));
        }
        let Some(Output { pointer, size }) = self.first else { return Ok(()) };
        for (i, value) in values.take(count).enumerate() {
            // SAFETY: checked in `output_array`: there is room for `capacity` structs of this size.
            let pointer = unsafe { pointer.cast::<u8>().add(i * size).cast::<T>() };
            // SAFETY: as above; a struct begins with its size.
            unsafe { pointer.cast::<u32>().write(size as u32) };
            Output { pointer, size }.write(value);
        }
        Ok(())
    }
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
        let mut room = MaybeUninit::uninit();
        // SAFETY: the tests below pass NULL, or structs as long as they say.
        unsafe { input(pointer, "it", &mut room) }.copied().map_err(|error| error.to_string())
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
    fn what_is_reserved_must_be_zero() {
        #[derive(Clone, Copy)]
        #[repr(C)]
        struct Padded {
            size: u32,
            reserved: u32,
        }
        sized!(Padded.reserved);
        let read = |reserved| {
            let (it, mut room) = (Padded { size: 8, reserved }, MaybeUninit::uninit());
            // SAFETY: the struct is as long as it says.
            unsafe { input(&it, "it", &mut room) }.map(|it| it.size).map_err(|e| e.to_string())
        };
        assert_eq!(read(0), Ok(8));
        assert!(read(1).unwrap_err().contains("does not know"));
    }

    #[test]
    fn an_output_is_cut_to_what_the_caller_has_room_for() {
        let mut small = [8u32, 1, 2, 3];
        // SAFETY: the array is longer than the size that it begins with.
        let it = unsafe { output::<Grown>(small.as_mut_ptr().cast(), "out") };
        // Alignment is that of the whole struct; an array of u32 may not have it.
        if let Ok(it) = it {
            it.write(Grown { size: 16, old: 9, new: u64::MAX });
            assert_eq!(small, [8, 9, 2, 3]);
        }
    }
}
