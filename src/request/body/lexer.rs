//! The raw-bytes front end: a push parser for RFC 8259 that turns the chunks of a body into
//! [`Events`] as they come, in one pass, without a buffer for strings and without recursion.
//!
//! Strings are unescaped straight into the room that the listener gives; see [`super::text`].

use super::error::{BodyError, BodyErrorKind};
use super::events::{Events, Literal, MAX_SHORT, Num, Role, Shape};
use super::nest::Nest;
use super::number::{Number, Step};
use super::scan::{self, REACH, Specials};
use super::text::{Ended, TextReader};
use super::utf8::{Joint, Pending};

/// So many bytes are validated, then read, while they are in the first-level cache.
const WINDOW: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value must come.
    Value,
    /// Behind `[`: a value or `]`.
    FirstValue,
    /// Behind `{`: a key or `}`.
    FirstKey,
    /// Behind a comma in an object: a key.
    Key,
    /// Behind a key: a colon.
    Colon,
    /// Behind a value: a comma or the end of the container.
    After,
    /// Inside a key.
    InKey,
    /// Inside a string value.
    InText,
    /// Inside a number.
    InNumber,
    /// Inside `true`, `false` or `null`.
    InLiteral,
    /// Behind the one value.
    Done,
}

pub(super) struct Lexer {
    state: State,
    nest: Nest,
    /// Offset in the body of the first byte of the slice under way.
    offset: u64,
    pending: Pending,
    text: TextReader,
    number: Number,
    /// The literal under way, and how many bytes of it were seen.
    literal: (Literal, usize),
}

impl Lexer {
    pub(super) const fn new() -> Self {
        Lexer {
            state: State::Value,
            nest: Nest::new(),
            offset: 0,
            pending: Pending::new(),
            text: TextReader::new(),
            number: Number::new(),
            literal: (Literal::Null, 0),
        }
    }

    /// Bytes taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.offset + self.pending.length() as u64
    }

    /// Reads the next chunk of the body.
    pub(super) fn push(&mut self, chunk: &[u8], events: &mut impl Events) -> Result<(), BodyError> {
        let mut rest = chunk;
        match self.pending.join(rest) {
            Joint::None => {}
            Joint::More => return Ok(()),
            Joint::Invalid => return Err(self.error(0, BodyErrorKind::InvalidUtf8)),
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
                return Err(self.error(0, BodyErrorKind::InvalidUtf8));
            }
            if last {
                break;
            }
            rest = &rest[checked.valid..];
        }
        Ok(())
    }

    /// Tells whether the body may end here.
    pub(super) fn finish(&mut self, events: &mut impl Events) -> Result<(), BodyError> {
        if self.state == State::InNumber && self.nest.depth() == 0 && self.number.complete() {
            self.end_number(0, events)?;
        }
        if self.state == State::Done && self.pending.length() == 0 {
            return Ok(());
        }
        Err(BodyError { kind: BodyErrorKind::UnexpectedEnd, position: self.taken() })
    }

    fn error(&self, at: usize, kind: BodyErrorKind) -> BodyError {
        BodyError { kind, position: self.offset + at as u64 }
    }

    /// Reads bytes that are known to be whole UTF-8 sequences.
    fn read(&mut self, bytes: &[u8], events: &mut impl Events) -> Result<(), BodyError> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: this processor has AVX2.
            return unsafe { self.read_avx2(bytes, events) };
        }
        self.read_with(bytes, events, scan::specials)
    }

    /// # Safety
    /// Needs AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn read_avx2(
        &mut self,
        bytes: &[u8],
        events: &mut impl Events,
    ) -> Result<(), BodyError> {
        // SAFETY: the caller vouches for AVX2.
        self.read_with(bytes, events, |block| unsafe { scan::avx2::specials(block) })
    }

    /// The same in a given form of the search for special bytes.
    #[inline(always)]
    pub(super) fn read_with(
        &mut self,
        bytes: &[u8],
        events: &mut impl Events,
        specials: impl Specials,
    ) -> Result<(), BodyError> {
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::InKey | State::InText => self.read_string(bytes, at, events, specials)?,
                State::InNumber => self.read_number(bytes, at, events)?,
                State::InLiteral => self.read_literal(bytes[at], at, events)?,
                _ if matches!(bytes[at], b' ' | b'\n' | b'\r' | b'\t') => at + 1,
                _ => self.read_mark(bytes, at, events, specials)?,
            };
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Reads one byte outside of strings, numbers, literals and white space, and with it the key
    /// that mostly follows.
    #[inline(always)]
    fn read_mark(
        &mut self,
        bytes: &[u8],
        at: usize,
        events: &mut impl Events,
        specials: impl Specials,
    ) -> Result<usize, BodyError> {
        let next = at + 1;
        match (self.state, bytes[at]) {
            (State::Value | State::FirstValue, b'"') => {
                events.text_begin();
                return Ok(self.begin_string(bytes, next, Role::Text, events, specials));
            }
            (State::FirstKey | State::Key, b'"') => {
                events.key_begin();
                return Ok(self.begin_string(bytes, next, Role::Key, events, specials));
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
            (State::After, b',') if self.is_in(Shape::Object) => self.state = State::Key,
            (State::After, b',') => self.state = State::Value,
            (State::After, b'}') if self.is_in(Shape::Object) => self.close(events),
            (State::After, b']') if self.is_in(Shape::Array) => self.close(events),
            (State::Done, _) => return Err(self.error(at, BodyErrorKind::TrailingData)),
            _ => return Err(self.error(at, BodyErrorKind::UnexpectedByte)),
        }
        Ok(next)
    }

    /// Begins a string behind its quote, and ends it if it is short.
    #[inline(always)]
    fn begin_string(
        &mut self,
        bytes: &[u8],
        at: usize,
        role: Role,
        events: &mut impl Events,
        specials: impl Specials,
    ) -> usize {
        self.state = if role == Role::Key { State::InKey } else { State::InText };
        let Some(block) = bytes[at..].first_chunk::<REACH>() else { return at };
        let length = specials(block).trailing_zeros() as usize;
        match block.first_chunk::<MAX_SHORT>() {
            Some(short) if length <= MAX_SHORT && block[length] == b'"' => {
                events.short(role, short, length);
                self.end_string(bytes, at + length + 1, role, events)
            }
            _ => at,
        }
    }

    /// Ends a string whose quote is behind us, and takes the colon that follows a key.
    #[inline(always)]
    fn end_string(
        &mut self,
        bytes: &[u8],
        at: usize,
        role: Role,
        events: &mut impl Events,
    ) -> usize {
        if role == Role::Text {
            events.text_end();
            self.state = self.after_value();
            return at;
        }
        events.key_end();
        let is_colon = bytes.get(at) == Some(&b':');
        self.state = if is_colon { State::Value } else { State::Colon };
        at + usize::from(is_colon)
    }

    fn begin_value(
        &mut self,
        byte: u8,
        at: usize,
        events: &mut impl Events,
    ) -> Result<(), BodyError> {
        self.state = match byte {
            b'{' => {
                self.open(Shape::Object, at, events)?;
                State::FirstKey
            }
            b'[' => {
                self.open(Shape::Array, at, events)?;
                State::FirstValue
            }
            b't' => self.begin_literal(Literal::True),
            b'f' => self.begin_literal(Literal::False),
            b'n' => self.begin_literal(Literal::Null),
            _ if Number::starts(byte) => {
                self.number.begin(byte);
                State::InNumber
            }
            _ => return Err(self.error(at, BodyErrorKind::UnexpectedByte)),
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
        while let Some((value, length)) = Number::read_plain(&bytes[at..]) {
            if events.wants_number() {
                events.number(Num::Unsigned(value));
            } else {
                events.number_skipped();
            }
            at += length;
            if !self.is_in(Shape::Array) || bytes[at] != b',' {
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
        specials: impl Specials,
    ) -> Result<usize, BodyError> {
        let role = if self.state == State::InKey { Role::Key } else { Role::Text };
        match self.text.read(bytes, at, role, events, specials) {
            Ok(Ended::Chunk) => Ok(bytes.len()),
            Ok(Ended::Quote(next)) => Ok(self.end_string(bytes, next, role, events)),
            Err((at, kind)) => Err(self.error(at, kind)),
        }
    }

    fn read_number(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        events: &mut impl Events,
    ) -> Result<usize, BodyError> {
        while let Some(&byte) = bytes.get(at) {
            match self.number.step(byte) {
                Step::Inside => at += 1,
                Step::Ends => {
                    self.end_number(at, events)?;
                    break;
                }
                Step::Unexpected => return Err(self.error(at, BodyErrorKind::UnexpectedByte)),
            }
        }
        Ok(at)
    }

    fn end_number(&mut self, at: usize, events: &mut impl Events) -> Result<(), BodyError> {
        if events.wants_number() {
            events.number(self.number.value().map_err(|kind| self.error(at, kind))?);
        } else {
            events.number_skipped();
        }
        self.state = self.after_value();
        Ok(())
    }

    fn read_literal(
        &mut self,
        byte: u8,
        at: usize,
        events: &mut impl Events,
    ) -> Result<usize, BodyError> {
        let (literal, seen) = self.literal;
        let word: &[u8] = match literal {
            Literal::True => b"true",
            Literal::False => b"false",
            Literal::Null => b"null",
        };
        if word.get(seen) != Some(&byte) {
            return Err(self.error(at, BodyErrorKind::UnexpectedByte));
        }
        self.literal.1 += 1;
        if self.literal.1 == word.len() {
            self.state = self.after_value();
            events.literal(literal);
        }
        Ok(at + 1)
    }

    fn is_in(&self, shape: Shape) -> bool {
        self.nest.innermost() == Some(shape)
    }

    fn open(&mut self, shape: Shape, at: usize, events: &mut impl Events) -> Result<(), BodyError> {
        if !self.nest.open(shape) {
            return Err(self.error(at, BodyErrorKind::TooDeep));
        }
        events.begin(shape);
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
