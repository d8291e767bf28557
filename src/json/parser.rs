//! A push parser that turns the chunks of a document into [`Events`] as they come, in one pass.
//!
//! Strings are unescaped straight into the room that the listener gives; see [`super::string`].

use super::error::{JsonError, JsonErrorKind};
use super::events::{Container, Events, Literal, MAX_SHORT, Number, StringKind};
use super::nest::Nest;
use super::number::{NumberReader, Step};
use super::special::{self, Finder, LANES};
use super::string::{Ended, StringReader};
use super::utf8::{Joint, Pending};

/// Chunk size that keeps validated bytes in the first-level cache until they are read.
const WINDOW: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value must come.
    Value,
    /// After `[`: a value or `]`.
    FirstValue,
    /// After `{`: a key or `}`.
    FirstKey,
    /// After a comma in an object: a key.
    Key,
    /// After a key: a colon.
    Colon,
    /// After a value: a comma or the end of the container.
    After,
    /// Inside a key.
    InKey,
    /// Inside a string value.
    InValue,
    /// Inside a number.
    InNumber,
    /// Inside `true`, `false` or `null`.
    InLiteral,
    /// After the one value.
    Done,
}

pub(crate) struct Parser {
    state: State,
    nest: Nest,
    /// Offset in the document of the first byte of the slice under way.
    offset: u64,
    pending: Pending,
    string: StringReader,
    number: NumberReader,
    /// The literal under way, and how many bytes of it were seen.
    literal: (Literal, usize),
}

impl Parser {
    pub(crate) const fn new() -> Self {
        Parser {
            state: State::Value,
            nest: Nest::new(),
            offset: 0,
            pending: Pending::new(),
            string: StringReader::new(),
            number: NumberReader::new(),
            literal: (Literal::Null, 0),
        }
    }

    /// Bytes taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.offset + self.pending.length() as u64
    }

    /// Reads the next chunk of the document.
    pub(crate) fn push(&mut self, chunk: &[u8], events: &mut impl Events) -> Result<(), JsonError> {
        let mut rest = chunk;
        match self.pending.join(rest) {
            Joint::None => {}
            Joint::More => return Ok(()),
            Joint::Invalid => return Err(self.error(0, JsonErrorKind::InvalidUtf8)),
            Joint::Whole(bytes, length, taken) => {
                self.read(&bytes[..length], events)?;
                rest = &rest[taken..];
            }
        }
        while !rest.is_empty() {
            let window = &rest[..rest.len().min(WINDOW)];
            let last = window.len() == rest.len();
            let checked = self.pending.check(window, last);
            self.read(&window[..checked.valid], events)?;
            if checked.broken {
                return Err(self.error(0, JsonErrorKind::InvalidUtf8));
            }
            if last {
                break;
            }
            rest = &rest[checked.valid..];
        }
        Ok(())
    }

    /// Tells whether the document may end here.
    pub(crate) fn finish(&mut self, events: &mut impl Events) -> Result<(), JsonError> {
        if self.state == State::InNumber && self.nest.depth() == 0 && self.number.is_complete() {
            self.end_number(0, events)?;
        }
        if self.state == State::Done && self.pending.length() == 0 {
            return Ok(());
        }
        Err(JsonError { kind: JsonErrorKind::UnexpectedEnd, position: self.taken() })
    }

    fn error(&self, at: usize, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, position: self.offset + at as u64 }
    }

    /// Reads bytes that are known to be whole UTF-8 sequences.
    fn read(&mut self, bytes: &[u8], events: &mut impl Events) -> Result<(), JsonError> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: this processor has AVX2.
            return unsafe { self.read_avx2(bytes, events) };
        }
        self.read_with(bytes, events, special::portable)
    }

    /// # Safety
    /// Needs AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn read_avx2(
        &mut self,
        bytes: &[u8],
        events: &mut impl Events,
    ) -> Result<(), JsonError> {
        // SAFETY: the caller has checked for AVX2.
        self.read_with(bytes, events, |block| unsafe { special::avx2(block) })
    }

    /// The same in a given form of the search for special bytes.
    #[inline(always)]
    pub(super) fn read_with(
        &mut self,
        bytes: &[u8],
        events: &mut impl Events,
        finder: impl Finder,
    ) -> Result<(), JsonError> {
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::InKey | State::InValue => self.read_string(bytes, at, events, finder)?,
                State::InNumber => self.read_number(bytes, at, events)?,
                State::InLiteral => self.read_literal(bytes[at], at, events)?,
                _ if matches!(bytes[at], b' ' | b'\n' | b'\r' | b'\t') => at + 1,
                _ => self.read_structure(bytes, at, events, finder)?,
            };
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Reads one byte outside of strings, numbers, literals and white space, and with it the key
    /// that mostly follows.
    #[inline(always)]
    fn read_structure(
        &mut self,
        bytes: &[u8],
        at: usize,
        events: &mut impl Events,
        finder: impl Finder,
    ) -> Result<usize, JsonError> {
        let next = at + 1;
        match (self.state, bytes[at]) {
            (State::Value | State::FirstValue, b'"') => {
                return Ok(self.begin_string(bytes, next, StringKind::Value, events, finder));
            }
            (State::FirstKey | State::Key, b'"') => {
                return Ok(self.begin_string(bytes, next, StringKind::Key, events, finder));
            }
            (State::Value | State::FirstValue, b'0'..=b'9') => {
                let next = self.read_plain_numbers(bytes, at, events);
                if next > at {
                    return Ok(next);
                }
                self.begin_value(bytes[at], at, events)?;
            }
            (State::FirstValue, b']') | (State::FirstKey, b'}') => self.close(events),
            (State::Value | State::FirstValue, byte) => self.begin_value(byte, at, events)?,
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') if self.is_in(Container::Object) => self.state = State::Key,
            (State::After, b',') => self.state = State::Value,
            (State::After, b'}') if self.is_in(Container::Object) => self.close(events),
            (State::After, b']') if self.is_in(Container::Array) => self.close(events),
            (State::Done, _) => return Err(self.error(at, JsonErrorKind::TrailingData)),
            _ => return Err(self.error(at, JsonErrorKind::UnexpectedByte)),
        }
        Ok(next)
    }

    /// Begins a string after its quote, and ends it if it is short.
    #[inline(always)]
    fn begin_string(
        &mut self,
        bytes: &[u8],
        at: usize,
        kind: StringKind,
        events: &mut impl Events,
        finder: impl Finder,
    ) -> usize {
        self.state = if kind == StringKind::Key { State::InKey } else { State::InValue };
        events.string_begin(kind);
        let Some(block) = bytes[at..].first_chunk::<LANES>() else { return at };
        let length = finder(block).trailing_zeros() as usize;
        match block.first_chunk::<MAX_SHORT>() {
            Some(short) if length <= MAX_SHORT && block[length] == b'"' => {
                events.short(kind, short, length);
                self.end_string(bytes, at + length + 1, kind, events)
            }
            _ => at,
        }
    }

    /// Ends a string whose quote was read, and takes the colon that mostly follows a key.
    #[inline(always)]
    fn end_string(
        &mut self,
        bytes: &[u8],
        at: usize,
        kind: StringKind,
        events: &mut impl Events,
    ) -> usize {
        events.string_end(kind);
        if kind == StringKind::Value {
            self.state = self.after_value();
            return at;
        }
        let is_colon = bytes.get(at) == Some(&b':');
        self.state = if is_colon { State::Value } else { State::Colon };
        at + usize::from(is_colon)
    }

    fn begin_value(
        &mut self,
        byte: u8,
        at: usize,
        events: &mut impl Events,
    ) -> Result<(), JsonError> {
        self.state = match byte {
            b'{' => {
                self.open(Container::Object, at, events)?;
                State::FirstKey
            }
            b'[' => {
                self.open(Container::Array, at, events)?;
                State::FirstValue
            }
            b't' => self.begin_literal(Literal::True),
            b'f' => self.begin_literal(Literal::False),
            b'n' => self.begin_literal(Literal::Null),
            _ if NumberReader::starts(byte) => {
                self.number.begin(byte);
                State::InNumber
            }
            _ => return Err(self.error(at, JsonErrorKind::UnexpectedByte)),
        };
        Ok(())
    }

    /// Reads plain numbers, in an array as many as follow each other, up to where a closer look is
    /// needed.
    fn read_plain_numbers(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        events: &mut impl Events,
    ) -> usize {
        while let Some((value, length)) = NumberReader::read_plain(&bytes[at..]) {
            if events.wants_number() {
                events.number(Number::Unsigned(value));
            }
            at += length;
            if !self.is_in(Container::Array) || bytes[at] != b',' {
                self.state = self.after_value();
                break;
            }
            self.state = State::Value;
            at += 1;
        }
        at
    }

    fn begin_literal(&mut self, literal: Literal) -> State {
        self.literal = (literal, 1);
        State::InLiteral
    }

    #[inline(always)]
    fn read_string(
        &mut self,
        bytes: &[u8],
        at: usize,
        events: &mut impl Events,
        finder: impl Finder,
    ) -> Result<usize, JsonError> {
        let kind = if self.state == State::InKey { StringKind::Key } else { StringKind::Value };
        match self.string.read(bytes, at, kind, events, finder) {
            Ok(Ended::Chunk) => Ok(bytes.len()),
            Ok(Ended::Quote(next)) => Ok(self.end_string(bytes, next, kind, events)),
            Err((at, kind)) => Err(self.error(at, kind)),
        }
    }

    fn read_number(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        events: &mut impl Events,
    ) -> Result<usize, JsonError> {
        while let Some(&byte) = bytes.get(at) {
            match self.number.step(byte) {
                Step::Inside => at += 1,
                Step::Ends => {
                    self.end_number(at, events)?;
                    break;
                }
                Step::Unexpected => return Err(self.error(at, JsonErrorKind::UnexpectedByte)),
            }
        }
        Ok(at)
    }

    fn end_number(&mut self, at: usize, events: &mut impl Events) -> Result<(), JsonError> {
        if events.wants_number() {
            events.number(self.number.value().map_err(|kind| self.error(at, kind))?);
        }
        self.state = self.after_value();
        Ok(())
    }

    fn read_literal(
        &mut self,
        byte: u8,
        at: usize,
        events: &mut impl Events,
    ) -> Result<usize, JsonError> {
        let (literal, seen) = self.literal;
        let word = literal.word();
        if word.get(seen) != Some(&byte) {
            return Err(self.error(at, JsonErrorKind::UnexpectedByte));
        }
        self.literal.1 += 1;
        if self.literal.1 == word.len() {
            self.state = self.after_value();
            events.literal(literal);
        }
        Ok(at + 1)
    }

    fn is_in(&self, container: Container) -> bool {
        self.nest.innermost() == Some(container)
    }

    fn open(
        &mut self,
        container: Container,
        at: usize,
        events: &mut impl Events,
    ) -> Result<(), JsonError> {
        if !self.nest.open(container) {
            return Err(self.error(at, JsonErrorKind::TooDeep));
        }
        events.begin(container);
        Ok(())
    }

    fn close(&mut self, events: &mut impl Events) {
        self.nest.close();
        self.state = self.after_value();
        events.end();
    }

    fn after_value(&self) -> State {
        if self.nest.depth() == 0 { State::Done } else { State::After }
    }
}
