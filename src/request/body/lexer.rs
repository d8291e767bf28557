//! The raw-bytes front end: a push parser for RFC 8259 that turns the chunks of a body into
//! [`Events`] as they come, in one pass, without a buffer for strings and without recursion.
//!
//! What is open is one bit per level (object or array), so nesting costs no stack. Strings leave as
//! slices of the chunk up to the next escape; see [`super::text`] for their inside.

use super::MAX_DEPTH;
use super::error::{BodyError, BodyErrorKind};
use super::events::{Events, Literal, Role, Shape};
use super::number::{Number, Step};
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
    /// Bit `n` is set where the container at depth `n + 1` is an object.
    objects: u128,
    depth: usize,
    /// Offset in the body of the first byte of the slice under way.
    offset: u64,
    pending: Pending,
    text: TextReader,
    number: Number,
    /// The literal under way, and how many bytes of it were seen.
    literal: (Literal, usize),
}

const _: () = assert!(MAX_DEPTH < u128::BITS as usize);

impl Lexer {
    pub(super) const fn new() -> Self {
        Lexer {
            state: State::Value,
            objects: 0,
            depth: 0,
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
        if self.state == State::InNumber && self.depth == 0 && self.number.complete() {
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
        let mut at = 0;
        while at < bytes.len() {
            at = match self.state {
                State::InKey | State::InText => self.read_string(bytes, at, events)?,
                State::InNumber => self.read_number(bytes, at, events)?,
                State::InLiteral => self.read_literal(bytes[at], at, events)?,
                _ if matches!(bytes[at], b' ' | b'\n' | b'\r' | b'\t') => at + 1,
                _ => self.read_mark(bytes, at, events)?,
            };
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Reads one byte outside of strings, numbers, literals and white space, and with it the quote
    /// that mostly follows.
    fn read_mark(
        &mut self,
        bytes: &[u8],
        at: usize,
        events: &mut impl Events,
    ) -> Result<usize, BodyError> {
        let next = at + 1;
        match (self.state, bytes[at]) {
            (State::FirstValue, b']') | (State::FirstKey, b'}') => self.close(events),
            (State::Value | State::FirstValue, byte) => {
                self.begin_value(byte, at, events)?;
                return Ok(self.maybe_key(bytes, next, events));
            }
            (State::FirstKey | State::Key, b'"') => return Ok(self.maybe_key(bytes, at, events)),
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') if self.in_object() => {
                self.state = State::Key;
                return Ok(self.maybe_key(bytes, next, events));
            }
            (State::After, b',') => self.state = State::Value,
            (State::After, b'}') if self.in_object() => self.close(events),
            (State::After, b']') if !self.in_object() => self.close(events),
            (State::Done, _) => return Err(self.error(at, BodyErrorKind::TrailingData)),
            _ => return Err(self.error(at, BodyErrorKind::UnexpectedByte)),
        }
        Ok(next)
    }

    /// Begins a key if one may come and its quote is here.
    fn maybe_key(&mut self, bytes: &[u8], at: usize, events: &mut impl Events) -> usize {
        let may_come = matches!(self.state, State::FirstKey | State::Key);
        if !may_come || bytes.get(at) != Some(&b'"') {
            return at;
        }
        self.state = State::InKey;
        events.key_begin();
        at + 1
    }

    fn begin_value(
        &mut self,
        byte: u8,
        at: usize,
        events: &mut impl Events,
    ) -> Result<(), BodyError> {
        self.state = match byte {
            b'"' => {
                events.text_begin();
                State::InText
            }
            b'{' => {
                self.open(Shape::Object, at)?;
                events.begin(Shape::Object);
                State::FirstKey
            }
            b'[' => {
                self.open(Shape::Array, at)?;
                events.begin(Shape::Array);
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

    fn begin_literal(&mut self, literal: Literal) -> State {
        self.literal = (literal, 1);
        State::InLiteral
    }

    fn read_string(
        &mut self,
        bytes: &[u8],
        at: usize,
        events: &mut impl Events,
    ) -> Result<usize, BodyError> {
        let role = if self.state == State::InKey { Role::Key } else { Role::Text };
        match (self.text.read(bytes, at, role, events), role) {
            (Ok(Ended::Chunk), _) => Ok(bytes.len()),
            (Ok(Ended::Quote(next)), Role::Key) => {
                events.key_end();
                let is_colon = bytes.get(next) == Some(&b':');
                self.state = if is_colon { State::Value } else { State::Colon };
                Ok(next + usize::from(is_colon))
            }
            (Ok(Ended::Quote(next)), Role::Text) => {
                self.state = self.after_value();
                events.text_end();
                Ok(next)
            }
            (Err((at, kind)), _) => Err(self.error(at, kind)),
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

    fn in_object(&self) -> bool {
        self.depth > 0 && self.objects >> (self.depth - 1) & 1 == 1
    }

    fn open(&mut self, shape: Shape, at: usize) -> Result<(), BodyError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(at, BodyErrorKind::TooDeep));
        }
        let bit = 1 << self.depth;
        match shape {
            Shape::Object => self.objects |= bit,
            Shape::Array => self.objects &= !bit,
        }
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, events: &mut impl Events) {
        self.depth -= 1;
        self.state = self.after_value();
        events.end();
    }

    fn after_value(&self) -> State {
        if self.depth == 0 { State::Done } else { State::After }
    }
}
