//! What a C caller's pointers point to: heap memory exactly as long as promised, filled from the input.

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

use arbitrary::{Result, Unstructured};

/// The length that says: up to the terminating NUL.
pub const NUL_TERMINATED: usize = usize::MAX;

/// Keeps alive what pointers of one call point to.
#[derive(Default)]
pub struct Memory {
    words: Vec<Box<[u64]>>,
    bytes: Vec<Box<[u8]>>,
}

impl Memory {
    /// A struct that is as long as it says, mostly its true length; NULL now and then. `fix` makes its
    /// pointers valid.
    pub fn structure<T: Copy>(
        &mut self,
        input: &mut Unstructured<'_>,
        fix: impl Fn(&mut T, &mut Memory, &mut Unstructured<'_>) -> Result<()>,
    ) -> Result<*const T> {
        if input.ratio(1, 32)? {
            return Ok(null());
        }
        self.array(input, 1, fix)
    }

    /// Structs one after another, as far apart as the first one's size says.
    pub fn array<T: Copy>(
        &mut self,
        input: &mut Unstructured<'_>,
        count: usize,
        fix: impl Fn(&mut T, &mut Memory, &mut Unstructured<'_>) -> Result<()>,
    ) -> Result<*const T> {
        let size = size(input, size_of::<T>())?;
        let mut memory = vec![0u64; (count * size.max(4)).div_ceil(8)].into_boxed_slice();
        for element in bytes_of(&mut memory).chunks_exact_mut(size.max(4)).take(count) {
            // SAFETY: all zero is a value of every struct that crosses.
            let mut value: T = unsafe { std::mem::zeroed() };
            let known = element.len().min(size_of::<T>());
            fill(input, bytes_of_one(&mut value))?;
            fix(&mut value, self, input)?;
            element[..known].copy_from_slice(&bytes_of_one(&mut value)[..known]);
            if input.ratio(1, 4)? {
                fill(input, &mut element[known..])?;
            }
            element[..4].copy_from_slice(&(size as u32).to_ne_bytes());
        }
        let pointer = memory.as_ptr().cast();
        self.words.push(memory);
        Ok(pointer)
    }

    /// A struct to be filled by the library.
    pub fn output<T: Copy>(&mut self, input: &mut Unstructured<'_>) -> Result<*mut T> {
        Ok(self.structure::<T>(input, |_, _, _| Ok(()))?.cast_mut())
    }

    /// What the library wrote; fields that the struct has no room for are zero.
    pub fn read<T: Copy>(&self, pointer: *const T) -> T {
        // SAFETY: `pointer` came from `structure`, which made it as long as it says.
        unsafe {
            let size = pointer.cast::<u32>().read() as usize;
            let mut value: T = std::mem::zeroed();
            let known = size.min(size_of::<T>());
            let target = std::ptr::from_mut(&mut value).cast::<u8>();
            std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), target, known);
            value
        }
    }

    /// Bytes and their length; or NUL-terminated ones; or NULL with any length.
    pub fn bytes(&mut self, input: &mut Unstructured<'_>) -> Result<(*const c_void, usize)> {
        let kind = input.int_in_range(0..=15)?;
        if kind == 0 {
            return Ok((null(), input.arbitrary()?));
        }
        let length = if kind == 1 { 0 } else { input.int_in_range(0..=200)? };
        let mut bytes = input.bytes(length.min(input.len()))?.to_vec();
        if kind % 4 == 2 {
            bytes.push(0);
            return Ok((self.keep(&bytes).cast(), NUL_TERMINATED));
        }
        Ok((self.keep(&bytes).cast(), bytes.len()))
    }

    /// The same as text, some of it of a kind that means something.
    pub fn text(&mut self, input: &mut Unstructured<'_>) -> Result<(*const c_char, usize)> {
        const KNOWN: [&str; 10] = [
            "own",
            "random",
            "round_robin",
            "\"power_of_two\"",
            "{}",
            "{\"max_workers\": 9}",
            "{\"cache_aware\": {\"rule\": \"threshold\"}}",
            "{\"custom\": {\"name\": \"own\"}}",
            "aa",
            "\u{20ac}",
        ];
        if input.arbitrary()? {
            let text = input.choose(&KNOWN)?.as_bytes();
            return Ok((self.keep(text).cast(), text.len()));
        }
        let (bytes, length) = self.bytes(input)?;
        Ok((bytes.cast(), length))
    }

    /// Numbers of 64 bits and how many; or NULL with any count.
    pub fn words(&mut self, input: &mut Unstructured<'_>) -> Result<(*const u64, usize)> {
        if input.arbitrary()? {
            return Ok((null(), if input.ratio(1, 8)? { input.arbitrary()? } else { 0 }));
        }
        let count = input.int_in_range(0..=40)?;
        let mut words = vec![0u64; count].into_boxed_slice();
        fill(input, bytes_of(&mut words))?;
        let pointer = words.as_ptr();
        self.words.push(words);
        Ok((pointer, count))
    }

    /// Room to write, aligned, and how many bytes; or NULL with any length.
    pub fn buffer(&mut self, input: &mut Unstructured<'_>) -> Result<(*mut c_void, usize)> {
        if input.ratio(1, 16)? {
            return Ok((null_mut(), input.arbitrary()?));
        }
        let mut words = vec![0u64; input.int_in_range(0..=80)?].into_boxed_slice();
        let (pointer, length) = (words.as_mut_ptr().cast(), 8 * words.len());
        self.words.push(words);
        Ok((pointer, length))
    }

    /// These bytes on the heap, not one more.
    pub fn keep(&mut self, bytes: &[u8]) -> *const u8 {
        let kept: Box<[u8]> = bytes.into();
        let pointer = kept.as_ptr();
        self.bytes.push(kept);
        pointer
    }
}

/// A struct's size: mostly the true one, else one of an older or newer caller, or a wrong one.
fn size(input: &mut Unstructured<'_>, true_size: usize) -> Result<usize> {
    Ok(match input.int_in_range(0..=15)? {
        0 => input.int_in_range(0..=true_size)?,
        1 => true_size + input.int_in_range(0..=64)?,
        2 => true_size + 8,
        _ => true_size,
    })
}

/// As many bytes as the input still has; the rest stay zero.
fn fill(input: &mut Unstructured<'_>, bytes: &mut [u8]) -> Result<()> {
    let length = bytes.len().min(input.len());
    bytes[..length].copy_from_slice(input.bytes(length)?);
    Ok(())
}

fn bytes_of(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: bytes have no alignment and every pattern is valid in both.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), 8 * words.len()) }
}

fn bytes_of_one<T>(value: &mut T) -> &mut [u8] {
    // SAFETY: the structs that cross have no padding and are valid for every pattern but that of
    // function pointers, which `fix` replaces before they are used.
    unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(value).cast(), size_of::<T>()) }
}
