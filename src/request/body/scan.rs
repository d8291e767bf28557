//! Finds, at memory speed, where a run of plain string bytes ends: at the closing quote, at an
//! escape, or at a control character that JSON does not allow there.

/// Length of the longest prefix of `bytes` without `"`, `\` and bytes below 0x20.
pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
    #[cfg(target_arch = "x86_64")]
    return sse2::plain_prefix(bytes);
    #[cfg(not(target_arch = "x86_64"))]
    portable::plain_prefix(bytes)
}

/// Eight bytes at a time in an ordinary register; also the tail of the SSE2 form.
mod portable {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    const ESCAPES: u64 = u64::from_ne_bytes([b'\\'; 8]);

    pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
        let mut at = 0;
        let mut words = bytes.chunks_exact(8);
        for chunk in &mut words {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            let marks = specials(u64::from_le_bytes(word));
            if marks != 0 {
                return at + (marks.trailing_zeros() / 8) as usize;
            }
            at += 8;
        }
        let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
        at + words.remainder().iter().take_while(|byte| plain(byte)).count()
    }

    /// High bit set in each byte that is special; borrows may mark bytes above the lowest special
    /// one wrongly, so only the lowest mark is meaningful.
    fn specials(word: u64) -> u64 {
        let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word;
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        (control | zero_byte(word ^ QUOTES) | zero_byte(word ^ ESCAPES)) & HIGHS
    }
}

/// SSE2 belongs to every x86-64, so nothing is detected at run time. Wider vectors gain nothing
/// here: hashing the same bytes takes longer than this scan.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use core::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };

    const LANES: usize = 16;

    pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
        let mut at = 0;
        let mut blocks = bytes.chunks_exact(4 * LANES);
        for block in &mut blocks {
            let (low, high) = block.split_at(2 * LANES);
            let marks = u64::from(marks(low)) | u64::from(marks(high)) << 32;
            if marks != 0 {
                return at + marks.trailing_zeros() as usize;
            }
            at += 4 * LANES;
        }
        let mut pairs = blocks.remainder().chunks_exact(2 * LANES);
        for pair in &mut pairs {
            let marks = marks(pair);
            if marks != 0 {
                return at + marks.trailing_zeros() as usize;
            }
            at += 2 * LANES;
        }
        at + super::portable::plain_prefix(pairs.remainder())
    }

    /// One bit per byte of `pair`, which holds at least 32, set where the byte is special.
    #[inline(always)]
    fn marks(pair: &[u8]) -> u32 {
        debug_assert!(pair.len() >= 2 * LANES);
        // SAFETY: SSE2 is part of the x86-64 baseline; the loads are unaligned ones, and the caller
        // hands at least 32 bytes, of which the two loads read bytes 0 to 31.
        unsafe {
            let start = pair.as_ptr().cast::<__m128i>();
            let low = special(_mm_loadu_si128(start));
            let high = special(_mm_loadu_si128(start.add(1)));
            low | high << LANES
        }
    }

    /// One bit per byte, set where the byte is special.
    ///
    /// # Safety
    /// Needs SSE2.
    #[inline(always)]
    unsafe fn special(bytes: __m128i) -> u32 {
        // SAFETY: the caller vouches for SSE2; these work on registers only.
        let mask = unsafe {
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control))
        };
        mask as u32
    }
}

#[cfg(test)]
mod tests {
    use super::{plain_prefix, portable};

    fn naive(bytes: &[u8]) -> usize {
        let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
        bytes.iter().position(special).unwrap_or(bytes.len())
    }

    #[test]
    fn every_byte_at_every_place_agrees_with_the_naive_scan() {
        for length in [1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 130] {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut bytes = vec![0xe4; length];
                    bytes[place] = byte;
                    assert_eq!(plain_prefix(&bytes), naive(&bytes));
                    assert_eq!(portable::plain_prefix(&bytes), naive(&bytes));
                }
            }
        }
    }

    #[test]
    fn the_lowest_special_byte_wins() {
        for specials in [b"\x1f!\"!", b"\\\\\"\"", b"\x7f\x20\x00\x01", b"\xff\xfe\x1f\\"] {
            for place in 0..70 {
                let mut bytes = vec![b'a'; 80];
                bytes[place..place + 4].copy_from_slice(specials);
                assert_eq!(plain_prefix(&bytes), naive(&bytes));
                assert_eq!(portable::plain_prefix(&bytes), naive(&bytes));
            }
        }
    }
}
