//! The inside of a JSON string: plain runs, and escapes that may be cut anywhere.

use arrayvec::ArrayVec;

use super::error::JsonErrorKind;
use super::escape::{self, MAX_ESCAPE};
use super::events::{Events, StringKind};
use super::scan::{self, Stop};
use super::special::{self, Finder};

/// Plain runs of this length are reported where they lie. Shorter ones are copied, because each piece
/// costs the listener more than a copy.
const LONG: usize = 512;

/// Why [`StringReader::read`] stopped.
pub(super) enum Ended {
    /// The bytes are used up; the string goes on.
    Chunk,
    /// The closing quote was read; the offset after it.
    Quote(usize),
}

/// Unescapes one string after the other.
pub(super) struct StringReader {
    /// The bytes so far of an escape that needs a closer look, after its backslash.
    escape: Option<ArrayVec<u8, MAX_ESCAPE>>,
}

impl StringReader {
    pub(super) const fn new() -> Self {
        StringReader { escape: None }
    }

    /// Reads the string on from `bytes[at..]`: long plain runs where they lie, others into the room
    /// that `events` has for them. An error carries the offset of the byte that shows it.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        kind: StringKind,
        events: &mut impl Events,
        finder: impl Finder,
    ) -> Result<Ended, (usize, JsonErrorKind)> {
        while at < bytes.len() {
            if self.escape.is_some() {
                self.escaped(bytes[at], kind, events).map_err(|error| (at, error))?;
                at += 1;
                continue;
            }
            let plain = special::plain_prefix(&bytes[at..], finder);
            if plain >= LONG {
                events.piece(kind, &bytes[at..at + plain]);
                at += plain;
                continue;
            }
            let run = scan::unescape(&bytes[at..], events.room(kind), finder);
            events.wrote(kind, run.written);
            at += run.read;
            match run.stop {
                Stop::Edge => {}
                Stop::Quote => return Ok(Ended::Quote(at + 1)),
                Stop::Escape => {
                    self.escape = Some(ArrayVec::new_const());
                    at += 1;
                }
                Stop::Control => return Err((at, JsonErrorKind::ControlCharacter)),
            }
        }
        Ok(Ended::Chunk)
    }

    /// Takes one byte of an escape.
    #[cold]
    fn escaped(
        &mut self,
        byte: u8,
        kind: StringKind,
        events: &mut impl Events,
    ) -> Result<(), JsonErrorKind> {
        let Some(escape) = &mut self.escape else { return Ok(()) };
        escape.push(byte);
        if let Some((character, _)) = escape::decode(escape)? {
            events.piece(kind, character.encode_utf8(&mut [0; 4]).as_bytes());
            self.escape = None;
        }
        Ok(())
    }
}
