//! The inside of a JSON string: plain runs, and escapes that may be cut anywhere.

use super::error::BodyErrorKind;
use super::events::{Events, Role};
use super::scan::{self, Specials, Stop};

/// Where the string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// In plain bytes.
    Plain,
    /// Behind a backslash.
    Escape,
    /// Behind `\u` and so many digits.
    Unicode(u8),
    /// Behind the first half of a surrogate pair: a backslash must come.
    PairEscape,
    /// Behind that backslash: a `u` must come.
    PairUnicode,
}

/// Why [`TextReader::read`] stopped.
pub(super) enum Ended {
    /// The bytes are used up; the string goes on.
    Chunk,
    /// The closing quote was read; the offset behind it.
    Quote(usize),
}

/// Unescapes one string after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextReader {
    inside: Inside,
    /// Value of the hexadecimal digits read so far.
    code: u16,
    /// The first half of a surrogate pair, or 0.
    first_half: u16,
}

type Fault = (usize, BodyErrorKind);

impl TextReader {
    pub(super) const fn new() -> Self {
        TextReader { inside: Inside::Plain, code: 0, first_half: 0 }
    }

    /// Reads the string on from `bytes[at..]` into the room that `events` has for it. An error
    /// carries the offset of the byte that shows it.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        role: Role,
        events: &mut impl Events,
        specials: impl Specials,
    ) -> Result<Ended, Fault> {
        while at < bytes.len() {
            if self.inside != Inside::Plain {
                let emit = |piece: &[u8]| events.write(role, piece);
                self.escaped(bytes[at], emit).map_err(|kind| (at, kind))?;
                at += 1;
                continue;
            }
            let run = scan::unescape(&bytes[at..], events.room(role), specials);
            events.wrote(role, run.written);
            at += run.read;
            match run.stop {
                Stop::Edge => {}
                Stop::Quote => return Ok(Ended::Quote(at + 1)),
                Stop::Escape => {
                    self.inside = Inside::Escape;
                    at += 1;
                }
                Stop::Control => return Err((at, BodyErrorKind::ControlCharacter)),
            }
        }
        Ok(Ended::Chunk)
    }

    /// Takes one byte of an escape.
    fn escaped(&mut self, byte: u8, emit: impl FnMut(&[u8])) -> Result<(), BodyErrorKind> {
        match self.inside {
            Inside::Plain | Inside::Escape => self.short_escape(byte, emit),
            Inside::Unicode(seen) => self.digit(byte, seen, emit),
            Inside::PairEscape if byte == b'\\' => {
                self.inside = Inside::PairUnicode;
                Ok(())
            }
            Inside::PairUnicode if byte == b'u' => {
                self.begin_digits();
                Ok(())
            }
            Inside::PairEscape | Inside::PairUnicode => Err(BodyErrorKind::UnpairedSurrogate),
        }
    }

    fn short_escape(&mut self, byte: u8, mut emit: impl FnMut(&[u8])) -> Result<(), BodyErrorKind> {
        if byte == b'u' {
            self.begin_digits();
            return Ok(());
        }
        let plain = scan::short_escape(byte).ok_or(BodyErrorKind::InvalidEscape)?;
        self.inside = Inside::Plain;
        emit(&[plain]);
        Ok(())
    }

    fn begin_digits(&mut self) {
        self.code = 0;
        self.inside = Inside::Unicode(0);
    }

    fn digit(&mut self, byte: u8, seen: u8, emit: impl FnMut(&[u8])) -> Result<(), BodyErrorKind> {
        let digit = char::from(byte).to_digit(16).ok_or(BodyErrorKind::InvalidEscape)?;
        self.code = self.code << 4 | digit as u16;
        if seen < 3 {
            self.inside = Inside::Unicode(seen + 1);
            return Ok(());
        }
        self.inside = Inside::Plain;
        self.code_unit(emit)
    }

    /// Takes a complete UTF-16 code unit.
    fn code_unit(&mut self, mut emit: impl FnMut(&[u8])) -> Result<(), BodyErrorKind> {
        let first = core::mem::take(&mut self.first_half);
        let is_first_half = matches!(self.code, 0xd800..=0xdbff);
        if first == 0 && is_first_half {
            self.first_half = self.code;
            self.inside = Inside::PairEscape;
            return Ok(());
        }
        let mut units =
            char::decode_utf16([first, self.code].into_iter().skip((first == 0).into()));
        match (units.next(), units.next()) {
            (Some(Ok(character)), None) => {
                emit(character.encode_utf8(&mut [0; 4]).as_bytes());
                Ok(())
            }
            _ => Err(BodyErrorKind::UnpairedSurrogate),
        }
    }
}
