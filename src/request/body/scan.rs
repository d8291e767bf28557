//! Unescapes the inside of a string at memory speed: copies plain bytes and resolves the escapes
//! that lie whole in the source, up to the closing quote or to whatever needs a closer look.

/// Why [`unescape`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The source is used up, or the target is too full to go on.
    Edge,
    /// At the closing quote.
    Quote,
    /// At a backslash whose escape is cut, wrong, or half of a surrogate pair.
    Escape,
    /// At a control character that JSON does not allow in a string.
    Control,
}

/// How far [`unescape`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) read: usize,
    pub(super) written: usize,
    pub(super) stop: Stop,
}

/// Bytes that are looked at together.
const LANES: usize = 64;

/// Source bytes that a step may touch: the block, a copy that begins at its end, an escape there.
pub(super) const REACH: usize = 2 * LANES + 8;

/// Room for one step: the block, and a copy that begins at its end.
const STEP_ROOM: usize = 3 * LANES;

const _: () = assert!(STEP_ROOM <= super::events::MIN_ROOM);

/// Finds the special bytes of a block: a quote, a backslash or a control character. One bit per
/// byte. There is one form per instruction set; whatever calls it is inlined into a function that
/// is compiled for that set.
pub(super) trait Specials: Fn(&[u8; REACH]) -> u64 + Copy {}

impl<F: Fn(&[u8; REACH]) -> u64 + Copy> Specials for F {}

/// Unescapes from `source` to `target`; what is left behind the written bytes has no meaning.
/// Advances unless the source is empty or the target shorter than a step.
#[inline(always)]
pub(super) fn unescape(source: &[u8], target: &mut [u8], specials: impl Specials) -> Run {
    let mut run = Run { read: 0, written: 0, stop: Stop::Edge };
    while run.stop == Stop::Edge && run.read < source.len() {
        let Some(to) = target[run.written..].first_chunk_mut::<STEP_ROOM>() else { break };
        let rest = &source[run.read..];
        let step = match rest.first_chunk::<REACH>() {
            Some(from) => step(from, to, specials(from)),
            None => last_step(rest, to, specials),
        };
        run.read += step.read;
        run.written += step.written;
        run.stop = step.stop;
    }
    run
}

/// Unescapes one block, and an escape that begins in it.
#[inline(always)]
fn step(source: &[u8; REACH], target: &mut [u8; STEP_ROOM], mut marks: u64) -> Run {
    let (mut read, mut written) = (0, 0);
    loop {
        // The plain bytes up to the next mark, and more behind them that is overwritten: a copy of
        // fixed length costs less than one of the right length. Both places are at most LANES, and
        // said so in a way that spares the bounds checks.
        let place = marks.trailing_zeros() as usize;
        let from = &source[read & (LANES - 1)..][..LANES];
        target[written & (2 * LANES - 1)..][..LANES].copy_from_slice(from);
        written += place - read;
        read = place;
        if place == LANES {
            return Run { read, written, stop: Stop::Edge };
        }
        match source[place] {
            b'"' => return Run { read, written, stop: Stop::Quote },
            b'\\' => {
                let Some((inside, bytes)) = escape(&source[place + 1..], &mut target[written..])
                else {
                    return Run { read, written, stop: Stop::Escape };
                };
                read += 1 + inside;
                written += bytes;
                if read >= LANES {
                    return Run { read, written, stop: Stop::Edge };
                }
                // The escaped byte may look special.
                marks &= u64::MAX << read;
            }
            _ => return Run { read, written, stop: Stop::Control },
        }
    }
}

/// A step near the end of the source, on a copy of the rest with control characters behind it.
#[inline(always)]
fn last_step(rest: &[u8], target: &mut [u8; STEP_ROOM], specials: impl Specials) -> Run {
    let mut padded = [0; REACH];
    padded[..rest.len()].copy_from_slice(rest);
    let mut run = step(&padded, target, specials(&padded));
    if run.read == rest.len() {
        run.stop = Stop::Edge;
    }
    run
}

/// What the byte behind a backslash stands for; 0 if that takes more than the byte.
const SHORT: [u8; 256] = {
    let mut table = [0; 256];
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'/' as usize] = b'/';
    table[b'b' as usize] = 0x08;
    table[b'f' as usize] = 0x0c;
    table[b'n' as usize] = b'\n';
    table[b'r' as usize] = b'\r';
    table[b't' as usize] = b'\t';
    table
};

/// The short escape that `byte` is behind a backslash.
#[inline]
pub(super) fn short_escape(byte: u8) -> Option<u8> {
    Some(SHORT[usize::from(byte)]).filter(|&plain| plain != 0)
}

/// Resolves the escape whose backslash is behind us, if it is whole and stands for one character:
/// the bytes read and written.
#[inline(always)]
fn escape(source: &[u8], target: &mut [u8]) -> Option<(usize, usize)> {
    let kind = *source.first()?;
    if let Some(plain) = short_escape(kind) {
        *target.first_mut()? = plain;
        return Some((1, 1));
    }
    unicode_escape(source, target)
}

/// The same for `u` and four digits.
#[inline(never)]
fn unicode_escape(source: &[u8], target: &mut [u8]) -> Option<(usize, usize)> {
    let (&kind, digits) = source.get(..5)?.split_first()?;
    if kind != b'u' {
        return None;
    }
    let mut code = 0;
    for &digit in digits {
        code = code << 4 | char::from(digit).to_digit(16)?;
    }
    let character = char::from_u32(code)?;
    let target = target.get_mut(..character.len_utf8())?;
    Some((5, character.encode_utf8(target).len()))
}

/// The form that every processor of this architecture has.
#[inline(always)]
pub(super) fn specials(source: &[u8; REACH]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return sse2::specials(source);
    #[cfg(not(target_arch = "x86_64"))]
    portable::specials(source)
}

/// Eight bytes at a time in ordinary registers.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::{LANES, REACH};

    const LOWS: u64 = u64::from_ne_bytes([0x7f; 8]);

    pub(super) fn specials(source: &[u8; REACH]) -> u64 {
        let mut marks = 0;
        for (number, chunk) in source[..LANES].chunks_exact(8).enumerate() {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            marks |= gather(marks_of(u64::from_le_bytes(word))) << (8 * number);
        }
        marks
    }

    /// The high bit of each byte that is special. Exact in every byte: no carry leaves a byte.
    fn marks_of(word: u64) -> u64 {
        let repeat = |byte: u8| u64::from_ne_bytes([byte; 8]);
        let above = |word: u64, limit: u8| ((word & LOWS) + repeat(0x80 - limit)) | word;
        let differs = |byte: u8| above(word ^ repeat(byte), 1);
        !(above(word, 0x20) & differs(b'"') & differs(b'\\')) & !LOWS
    }

    /// The high bits of eight bytes as eight neighbouring bits.
    fn gather(highs: u64) -> u64 {
        (highs >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    }
}

/// Twice as wide, where the processor has it.
#[cfg(target_arch = "x86_64")]
pub(super) mod avx2 {
    use core::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_set1_epi8,
    };

    use super::{LANES, REACH};

    /// # Safety
    /// Needs AVX2.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) unsafe fn specials(source: &[u8; REACH]) -> u64 {
        const { assert!(LANES == 64 && REACH >= LANES) };
        let start = source.as_ptr().cast::<__m256i>();
        // SAFETY: the caller vouches for AVX2; the loads are unaligned ones and read bytes 0 to 63
        // of a source that has at least LANES of them.
        unsafe {
            let low = marks(_mm256_loadu_si256(start));
            let high = marks(_mm256_loadu_si256(start.add(1)));
            u64::from(low) | u64::from(high) << 32
        }
    }

    /// One bit per byte, set where the byte is special.
    ///
    /// # Safety
    /// Needs AVX2.
    #[inline]
    #[allow(unused_unsafe, reason = "these intrinsics are unsafe before Rust 1.87")]
    #[target_feature(enable = "avx2")]
    unsafe fn marks(bytes: __m256i) -> u32 {
        // SAFETY: the caller vouches for AVX2; these work on registers only.
        let mask = unsafe {
            let quote = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'"' as i8));
            let escape = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\' as i8));
            let control = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
            _mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(quote, escape), control))
        };
        mask as u32
    }
}

/// SSE2 belongs to every x86-64, so nothing is detected for it.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use core::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };

    use super::{LANES, REACH};

    #[inline(always)]
    pub(super) fn specials(source: &[u8; REACH]) -> u64 {
        const { assert!(LANES == 64 && REACH >= LANES) };
        let start = source.as_ptr().cast::<__m128i>();
        // SAFETY: SSE2 is part of the x86-64 baseline; the loads are unaligned ones and read bytes
        // 0 to 63 of a source that has at least LANES of them.
        let quarter = |number: usize| unsafe { marks(_mm_loadu_si128(start.add(number))) };
        quarter(0) | quarter(1) << 16 | quarter(2) << 32 | quarter(3) << 48
    }

    /// One bit per byte, set where the byte is special.
    ///
    /// # Safety
    /// Needs SSE2.
    #[inline(always)]
    unsafe fn marks(bytes: __m128i) -> u64 {
        // SAFETY: the caller vouches for SSE2; these work on registers only.
        let mask = unsafe {
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control))
        };
        u64::from(mask as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BodyOptions, lexer::Lexer, meaning::Meaning};
    use super::{LANES, REACH, Stop, portable, specials, unescape};
    use crate::prefix::HashKey;

    #[cfg(target_arch = "x86_64")]
    fn avx2(source: &[u8; REACH]) -> u64 {
        if !std::arch::is_x86_feature_detected!("avx2") {
            return specials(source);
        }
        // SAFETY: this processor has AVX2.
        unsafe { super::avx2::specials(source) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    use super::specials as avx2;

    fn naive(source: &[u8; REACH]) -> u64 {
        let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        (0..LANES).map(|place| u64::from(special(source[place])) << place).sum()
    }

    #[test]
    fn the_special_bytes_are_found_by_every_form() {
        let others =
            [b'a', 0x1f, b'"', b'\\', 0x00, 0x80, 0xff, 0x20, 0x7f, b'!', b'#', b'[', b']'];
        for byte in 0..=255 {
            for place in 0..LANES {
                let mut source = [0; REACH];
                let fill = |place: usize| others[(place * 7 + usize::from(byte)) % others.len()];
                source.iter_mut().enumerate().for_each(|(place, byte)| *byte = fill(place));
                source[place] = byte;
                assert_eq!(specials(&source), naive(&source));
                assert_eq!(portable::specials(&source), naive(&source));
                assert_eq!(avx2(&source), naive(&source));
            }
        }
    }

    #[test]
    fn a_full_target_stops_between_characters() {
        let mut target = [0; 300];
        let source = br"\u20ac".repeat(400);
        let run = unescape(&source, &mut target, specials);
        assert_eq!((run.written / 3 * 6, run.stop), (run.read, Stop::Edge));
        assert_eq!(&target[..run.written], "€".repeat(run.written / 3).as_bytes());
    }

    #[test]
    fn a_body_reads_the_same_with_every_form() {
        let text = "plain text, \\n escapes \\u20ac and \\\"quotes\\\" ".repeat(40);
        let body = format!(r#"{{"tools":["{text}"],"messages":[{{"content":"{text}"}}]}}"#);
        let key = HashKey::from_bytes([5; 32]);
        let read = |form: &dyn Fn(&mut Lexer, &[u8], &mut Meaning<'_, '_>)| {
            let mut out = [0; 64];
            let mut lexer = Lexer::new();
            let mut meaning = Meaning::new(&key, BodyOptions::default(), &mut out);
            body.as_bytes().chunks(200).for_each(|chunk| form(&mut lexer, chunk, &mut meaning));
            assert_eq!(lexer.finish(&mut meaning), Ok(()));
            meaning.finish().fingerprint.map(|print| print.blocks().to_vec())
        };
        let fast = read(&|lexer, bytes, meaning| lexer.push(bytes, meaning).unwrap());
        assert!(fast.as_ref().is_some_and(|blocks| blocks.len() > 20));
        assert_eq!(
            fast,
            read(&|lexer, bytes, meaning| {
                lexer.read_with(bytes, meaning, specials).unwrap();
            })
        );
        assert_eq!(
            fast,
            read(&|lexer, bytes, meaning| {
                lexer.read_with(bytes, meaning, portable::specials).unwrap();
            })
        );
    }
}
