//! Finds the bytes of a string that need attention, 64 at a time.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8,
    _mm256_or_si256, _mm256_set1_epi8,
};

/// Bytes that are looked at together.
pub(super) const LANES: usize = 64;

/// Finds the special bytes of a block: a quote, a backslash or a control character. One bit per
/// byte. There is one form per instruction set; what calls it is inlined into a function that is
/// compiled for that set.
pub(super) trait Finder: Fn(&[u8; LANES]) -> u64 + Copy {}

impl<F: Fn(&[u8; LANES]) -> u64 + Copy> Finder for F {}

/// Leading bytes of `source` that are not special, in whole blocks where none follows.
#[inline(always)]
pub(super) fn plain_prefix(source: &[u8], finder: impl Finder) -> usize {
    let mut plain = 0;
    for block in source.chunks_exact(LANES) {
        let found = block.first_chunk().map_or(0, finder);
        if found != 0 {
            return plain + found.trailing_zeros() as usize;
        }
        plain += LANES;
    }
    plain
}

const LOWS: u64 = u64::from_ne_bytes([0x7f; 8]);

/// The form for every processor: eight bytes at a time in ordinary registers.
#[inline]
pub(super) fn portable(block: &[u8; LANES]) -> u64 {
    let mut found = 0;
    for (number, chunk) in block.chunks_exact(8).enumerate() {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        found |= gather(high_bits(u64::from_le_bytes(word))) << (8 * number);
    }
    found
}

/// The high bit of each byte that is special. Exact in every byte: no carry leaves a byte.
fn high_bits(word: u64) -> u64 {
    let repeat = |byte: u8| u64::from_ne_bytes([byte; 8]);
    let above = |word: u64, limit: u8| ((word & LOWS) + repeat(0x80 - limit)) | word;
    let differs = |byte: u8| above(word ^ repeat(byte), 1);
    !(above(word, 0x20) & differs(b'"') & differs(b'\\')) & !LOWS
}

/// The high bits of eight bytes as eight neighbouring bits.
fn gather(highs: u64) -> u64 {
    (highs >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// The form for processors with AVX2: 32 bytes at a time.
///
/// # Safety
/// Needs AVX2.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn avx2(block: &[u8; LANES]) -> u64 {
    const { assert!(LANES == 64) };
    let start = block.as_ptr().cast::<__m256i>();
    // SAFETY: the caller has checked for AVX2; the loads are unaligned ones of the block's two halves.
    unsafe {
        let low = avx2_half(_mm256_loadu_si256(start));
        let high = avx2_half(_mm256_loadu_si256(start.add(1)));
        u64::from(low) | u64::from(high) << 32
    }
}

/// # Safety
/// Needs AVX2.
#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unused_unsafe, reason = "these intrinsics are unsafe before Rust 1.87")]
#[target_feature(enable = "avx2")]
unsafe fn avx2_half(bytes: __m256i) -> u32 {
    // SAFETY: the caller has checked for AVX2; these work on registers only.
    let mask = unsafe {
        let quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'"' as i8));
        let escape = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\' as i8));
        let control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
        _mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(quote, escape), control))
    };
    mask as u32
}

#[cfg(test)]
mod tests {
    use super::{LANES, portable};

    #[cfg(target_arch = "x86_64")]
    fn avx2(block: &[u8; LANES]) -> u64 {
        if !std::arch::is_x86_feature_detected!("avx2") {
            eprintln!("not checked: AVX2 missing");
            return portable(block);
        }
        // SAFETY: this processor has AVX2.
        unsafe { super::avx2(block) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    use super::portable as avx2;

    fn naive(block: &[u8; LANES]) -> u64 {
        let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        (0..LANES).map(|place| u64::from(special(block[place])) << place).sum()
    }

    #[test]
    fn the_special_bytes_are_found_by_every_form() {
        let others =
            [b'a', 0x1f, b'"', b'\\', 0x00, 0x80, 0xff, 0x20, 0x7f, b'!', b'#', b'[', b']'];
        for byte in 0..=255 {
            for place in 0..LANES {
                let fill = |place: usize| others[(place * 7 + usize::from(byte)) % others.len()];
                let mut block = std::array::from_fn(fill);
                block[place] = byte;
                assert_eq!(portable(&block), naive(&block));
                assert_eq!(avx2(&block), naive(&block));
            }
        }
    }
}
