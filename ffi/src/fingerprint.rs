//! Fingerprints: a prompt as chained block hashes, for hosts that see the prompt and the workers at
//! different moments.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use pointsman_core::Fingerprint;
use pointsman_core::prefix::{FingerprintHeader, Unit};

use crate::argument::{self, Out, Output, memory, memory_mut, optional_out, output, slice_mut};
use crate::failure::Failure;
use crate::status::pointsman_status;

/// What a prompt's length is counted in: one of the POINTSMAN_UNIT_ constants.
#[allow(non_camel_case_types)]
pub type pointsman_unit = u32;

/// Lengths are counted in bytes of text.
pub const POINTSMAN_UNIT_TEXT: pointsman_unit = 0;

/// Lengths are counted in tokens.
pub const POINTSMAN_UNIT_TOKENS: pointsman_unit = 1;

/// A prompt's fingerprint: a small header, and the hashes of its leading blocks, which it borrows.
/// Copy it freely while the hashes are alive; pointsman_fingerprint_encode makes bytes of it that can
/// be stored or sent.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct pointsman_fingerprint {
    /// Set by POINTSMAN_FINGERPRINT_INIT.
    pub size: u32,
    /// Format version.
    pub version: u32,
    /// What total is counted in.
    pub unit: pointsman_unit,
    /// Bytes per block.
    pub block_bytes: u32,
    /// Check value of the key that it was made with.
    pub key_id: u32,
    /// Number of hashes.
    pub hash_count: u32,
    /// Check value of the namespace; 0 where there is none.
    pub cache_namespace: u64,
    /// Length of the whole prompt in bytes or tokens, whether hashed or not.
    pub total: u64,
    /// The hashes.
    pub hashes: *const u64,
    /// Whether the user speaks after an agent's loop, and what engines hold then, which routers learn by; 0
    /// says that it is not known.
    pub turn: u32,
    /// Must be 0.
    pub reserved: u32,
}

sized!(pointsman_fingerprint.reserved);

export! {
    /// Writes a fingerprint as bytes: 32 of header and 8 for each hash, the same on every machine.
    /// length may be NULL; it gets the number of bytes.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT; POINTSMAN_BAD_FINGERPRINT; POINTSMAN_BUFFER_TOO_SMALL,
    /// where length is written nevertheless.
    fn pointsman_fingerprint_encode(
        fingerprint: *const pointsman_fingerprint,
        buffer: *mut c_void,
        capacity: usize,
        length: *mut usize,
    ) -> pointsman_status => encode(borrowed[fingerprint], memory_mut(buffer, capacity), optional_out(length));

    /// Reads a fingerprint from bytes. Its hashes go to hashes, as many as capacity has room for.
    ///
    /// Errors: POINTSMAN_INVALID_ARGUMENT, POINTSMAN_BAD_FINGERPRINT.
    fn pointsman_fingerprint_decode(
        bytes: *const c_void,
        length: usize,
        hashes: *mut u64,
        capacity: usize,
        fingerprint: *mut pointsman_fingerprint,
    ) -> pointsman_status => decode(memory(bytes, length), slice_mut(hashes, capacity), output(fingerprint));
}

/// Borrows the caller's fingerprint as one of the core.
///
/// # Safety
/// `pointer` is NULL or points to a fingerprint as the struct says; its hashes outlive `'a`.
pub(crate) unsafe fn borrowed<'a>(
    pointer: *const pointsman_fingerprint,
    name: &'static str,
    room: &mut MaybeUninit<pointsman_fingerprint>,
) -> Result<Fingerprint<'a>, Failure> {
    // SAFETY: the caller keeps this function's `# Safety`.
    let raw = unsafe { argument::input(pointer, name, room) }?;
    let misfit = |field| Failure::argument(field, "has a value that no fingerprint has");
    let header = FingerprintHeader {
        version: u8::try_from(raw.version).map_err(|_| misfit("fingerprint.version"))?,
        unit: match raw.unit {
            POINTSMAN_UNIT_TEXT => Unit::Text,
            POINTSMAN_UNIT_TOKENS => Unit::Tokens,
            _ => return Err(misfit("fingerprint.unit")),
        },
        block_bytes: u16::try_from(raw.block_bytes)
            .map_err(|_| misfit("fingerprint.block_bytes"))?,
        key_id: raw.key_id,
        namespace: raw.cache_namespace,
        total: raw.total,
        blocks: raw.hash_count,
        turn: raw.turn,
    };
    let count = raw.hash_count as usize;
    // SAFETY: the caller keeps this function's `# Safety`.
    let hashes = unsafe { argument::slice(raw.hashes, count, "fingerprint.hashes") }?;
    Ok(Fingerprint::from_parts(header, hashes)?)
}

pub(crate) fn raw_of(fingerprint: &Fingerprint<'_>) -> pointsman_fingerprint {
    let header = fingerprint.header();
    pointsman_fingerprint {
        size: size_of::<pointsman_fingerprint>() as u32,
        version: header.version.into(),
        unit: match header.unit {
            Unit::Text => POINTSMAN_UNIT_TEXT,
            Unit::Tokens => POINTSMAN_UNIT_TOKENS,
        },
        block_bytes: header.block_bytes.into(),
        key_id: header.key_id,
        hash_count: header.blocks,
        cache_namespace: header.namespace,
        total: header.total,
        hashes: fingerprint.blocks().as_ptr(),
        turn: header.turn,
        reserved: 0,
    }
}

fn encode(
    fingerprint: Fingerprint<'_>,
    buffer: &mut [u8],
    length: Option<Out<usize>>,
) -> Result<(), Failure> {
    let written = fingerprint.encode(buffer);
    if let Some(length) = length {
        length.write(fingerprint.encoded_len());
    }
    written?;
    Ok(())
}

fn decode(
    bytes: &[u8],
    hashes: &mut [u64],
    output: Output<pointsman_fingerprint>,
) -> Result<(), Failure> {
    output.write(raw_of(&Fingerprint::decode(bytes, hashes)?));
    Ok(())
}
