//! Numbers with a special meaning.

/// The length that stands for "up to the terminating NUL" wherever text is passed.
pub const POINTSMAN_NUL_TERMINATED: usize = usize::MAX;
/// The time that stands for "read the clock" wherever a time is passed.
pub const POINTSMAN_NOW: u64 = 0;
/// A number of 32 bits that is not known.
pub const POINTSMAN_UNKNOWN: u32 = 0xffff_ffff;
/// A number of 64 bits that is not known.
pub const POINTSMAN_UNKNOWN64: u64 = 0xffff_ffff_ffff_ffff;
/// No index.
pub const POINTSMAN_NONE: u32 = 0xffff_ffff;

/// A number, or none where it is not known.
#[inline(always)]
pub(crate) fn known(number: u32) -> Option<u32> {
    if number == POINTSMAN_UNKNOWN { None } else { Some(number) }
}

/// A number, or none where it is not known.
pub(crate) fn known64(number: u64) -> Option<u64> {
    if number == POINTSMAN_UNKNOWN64 { None } else { Some(number) }
}
