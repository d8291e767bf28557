//! Which version this is.

use std::ffi::c_char;

use crate::failure::Failure;

/// The version of the binary interface that this header describes. A library with another number
/// must not be used with it.
pub const POINTSMAN_ABI_VERSION: u32 = 1;

export! {
    /// The library's version, such as "0.1.0". Static. Compare with POINTSMAN_VERSION, which is the
    /// header's.
    fn pointsman_version() -> *const c_char => version();

    /// The library's version as a number, as POINTSMAN_VERSION_NUMBER is the header's: 65,536 times
    /// the major version plus 256 times the minor one plus the patch.
    fn pointsman_version_number() -> u32 => version_number();

    /// The library's POINTSMAN_ABI_VERSION: compare before using a library loaded at run time.
    fn pointsman_abi_version() -> u32 => abi_version();
}

fn version() -> Result<*const c_char, Failure> {
    Ok(concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}

fn version_number() -> Result<u32, Failure> {
    const fn number(text: &str) -> u32 {
        let (bytes, mut value, mut i) = (text.as_bytes(), 0, 0);
        while i < bytes.len() {
            value = value * 10 + (bytes[i] - b'0') as u32;
            i += 1;
        }
        value
    }
    const NUMBER: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
        | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
        | number(env!("CARGO_PKG_VERSION_PATCH"));
    Ok(NUMBER)
}

fn abi_version() -> Result<u32, Failure> {
    Ok(POINTSMAN_ABI_VERSION)
}
