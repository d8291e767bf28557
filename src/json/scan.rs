//! Unescapes the inside of a string at memory speed: copies plain bytes and decodes the escapes
//! that lie whole in the source, up to the closing quote or to whatever needs a closer look.

use super::escape::{self, MAX_ESCAPE};
use super::events::MIN_ROOM;
use super::special::{Finder, LANES};

/// Why [`unescape`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The source is used up, or the target is too full to go on.
    Edge,
    /// At the closing quote.
    Quote,
    /// At a backslash whose escape is cut or wrong.
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

/// Source bytes that a step may touch: the block, and a copy that begins at its end.
pub(super) const REACH: usize = 2 * LANES;

/// Room for one step: the block, and a copy that begins at its end.
const STEP_ROOM: usize = 3 * LANES;

const _: () = assert!(STEP_ROOM <= MIN_ROOM && MAX_ESCAPE <= LANES);

/// Unescapes from `source` to `target`; what is left after the written bytes has no meaning.
/// Advances unless the source is empty or the target shorter than a step.
#[inline(always)]
pub(super) fn unescape(source: &[u8], target: &mut [u8], finder: impl Finder) -> Run {
    let mut run = Run { read: 0, written: 0, stop: Stop::Edge };
    while run.stop == Stop::Edge && run.read < source.len() {
        let Some(to) = target[run.written..].first_chunk_mut::<STEP_ROOM>() else { break };
        let rest = &source[run.read..];
        let step = match rest.first_chunk::<REACH>() {
            Some(from) => step(from, to, finder),
            None => last_step(rest, to, finder),
        };
        run.read += step.read;
        run.written += step.written;
        run.stop = step.stop;
    }
    run
}

/// The special bytes of the block that `source` begins with.
#[inline(always)]
pub(super) fn specials(source: &[u8; REACH], finder: impl Finder) -> u64 {
    source.first_chunk().map_or(0, finder)
}

/// Unescapes one block, and an escape that begins in it.
#[inline(always)]
fn step(source: &[u8; REACH], target: &mut [u8; STEP_ROOM], finder: impl Finder) -> Run {
    let mut special = specials(source, finder);
    let (mut read, mut written) = (0, 0);
    loop {
        // The plain bytes up to the next special one, and more after them that is overwritten: a
        // copy of fixed length costs less than one of the right length. The masks change nothing
        // and spare the bounds checks.
        let place = special.trailing_zeros() as usize;
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
                special &= u64::MAX << read;
            }
            _ => return Run { read, written, stop: Stop::Control },
        }
    }
}

/// A step near the end of the source, on a copy of the rest with control characters after it.
#[inline(always)]
fn last_step(rest: &[u8], target: &mut [u8; STEP_ROOM], finder: impl Finder) -> Run {
    let mut padded = [0; REACH];
    padded[..rest.len()].copy_from_slice(rest);
    let mut run = step(&padded, target, finder);
    if run.read == rest.len() {
        run.stop = Stop::Edge;
    }
    run
}

/// Decodes the escape whose backslash comes before `source`, if it is whole: the bytes read and
/// written.
#[inline(always)]
fn escape(source: &[u8], target: &mut [u8]) -> Option<(usize, usize)> {
    if let Some(plain) = escape::short(*source.first()?) {
        *target.first_mut()? = plain;
        return Some((1, 1));
    }
    unicode_escape(source, target)
}

#[inline(never)]
fn unicode_escape(source: &[u8], target: &mut [u8]) -> Option<(usize, usize)> {
    let (character, read) = escape::decode(source).ok()??;
    let target = target.get_mut(..character.len_utf8())?;
    Some((read, character.encode_utf8(target).len()))
}

#[cfg(test)]
mod tests {
    use super::super::special::portable;
    use super::{Stop, unescape};

    #[test]
    fn a_full_target_stops_between_characters() {
        let mut target = [0; 300];
        let source = br"\u20ac".repeat(400);
        let run = unescape(&source, &mut target, portable);
        assert_eq!((run.written / 3 * 6, run.stop), (run.read, Stop::Edge));
        assert!(run.written > 100);
        assert_eq!(&target[..run.written], "€".repeat(run.written / 3).as_bytes());
    }
}
