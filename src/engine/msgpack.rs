//! A reader of msgpack that only ever looks at heads: what a value is, where it lies, and where the
//! next one begins.

use super::error::{EngineError, EngineErrorKind};

/// A value without what it holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head<'a> {
    Nil,
    Bool,
    Unsigned(u64),
    /// Below 0.
    Negative(i64),
    Float(f64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Extension,
    /// So many values follow.
    Array(u32),
    /// So many keys follow, each with its value.
    Map(u32),
}

/// Reads from a place in a payload onward. It never goes back, and takes at least one byte at each
/// step, so that its work is bounded by the payload's length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Of the whole payload.
    length: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Reader { rest: payload, length: payload.len() }
    }

    pub(super) fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Where the next value begins: `WrongType` and the like point there.
    pub(super) fn error(&self, kind: EngineErrorKind) -> EngineError {
        EngineError::new(kind, self.position())
    }

    #[cold]
    fn end(&self) -> EngineError {
        EngineError::new(EngineErrorKind::UnexpectedEnd, self.length)
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], EngineError> {
        let Some((taken, rest)) = self.rest.split_at_checked(bytes) else { return Err(self.end()) };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], EngineError> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else { return Err(self.end()) };
        self.rest = rest;
        Ok(*taken)
    }

    /// The next value, if it is a number that is not negative; else nothing is taken. Tokens and hashes
    /// are most of what engines write, so this is the reader's inner loop: by patterns, whose branches a
    /// processor foresees where numbers of one length follow each other.
    #[inline(always)]
    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let (value, rest) = match *self.rest {
            [0xcd, a, b, ref rest @ ..] => (u64::from(u16::from_be_bytes([a, b])), rest),
            [value @ 0..=0x7f, ref rest @ ..] => (u64::from(value), rest),
            [0xce, a, b, c, d, ref rest @ ..] => {
                (u64::from(u32::from_be_bytes([a, b, c, d])), rest)
            }
            [0xcf, a, b, c, d, e, f, g, h, ref rest @ ..] => {
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), rest)
            }
            [0xcc, value, ref rest @ ..] => (u64::from(value), rest),
            _ => return None,
        };
        self.rest = rest;
        Some(value)
    }

    /// A big-endian number of `N` bytes.
    #[inline]
    fn number<const N: usize>(&mut self) -> Result<u64, EngineError> {
        let bytes = self.fixed::<N>()?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The same with a sign.
    fn signed<const N: usize>(&mut self) -> Result<Head<'a>, EngineError> {
        let unused = 64 - 8 * N as u32;
        let value = (self.number::<N>()? << unused) as i64 >> unused;
        Ok(if value < 0 { Head::Negative(value) } else { Head::Unsigned(value as u64) })
    }

    fn text(&mut self, bytes: u64) -> Result<Head<'a>, EngineError> {
        Ok(Head::Text(self.take(bytes as usize)?))
    }

    fn bytes(&mut self, bytes: u64) -> Result<Head<'a>, EngineError> {
        Ok(Head::Bytes(self.take(bytes as usize)?))
    }

    /// Data of an application's own type, which has one byte more.
    fn extension(&mut self, bytes: u64) -> Result<Head<'a>, EngineError> {
        self.take(bytes as usize + 1)?;
        Ok(Head::Extension)
    }

    /// The next value's head; of a text or bytes, all of it.
    #[inline]
    pub(super) fn head(&mut self) -> Result<Head<'a>, EngineError> {
        let at = self.position();
        let first = self.fixed::<1>()?[0];
        match first {
            0x00..=0x7f => Ok(Head::Unsigned(first.into())),
            0x80..=0x8f => Ok(Head::Map(u32::from(first & 0x0f))),
            0x90..=0x9f => Ok(Head::Array(u32::from(first & 0x0f))),
            0xa0..=0xbf => self.text(u64::from(first & 0x1f)),
            0xcc => Ok(Head::Unsigned(self.number::<1>()?)),
            0xcd => Ok(Head::Unsigned(self.number::<2>()?)),
            0xce => Ok(Head::Unsigned(self.number::<4>()?)),
            0xcf => Ok(Head::Unsigned(self.number::<8>()?)),
            0xe0..=0xff => Ok(Head::Negative(i64::from(first as i8))),
            _ => self.rare(first, at),
        }
    }

    fn rare(&mut self, first: u8, at: usize) -> Result<Head<'a>, EngineError> {
        match first {
            0xc0 => Ok(Head::Nil),
            0xc2 | 0xc3 => Ok(Head::Bool),
            0xc4 => self.number::<1>().and_then(|bytes| self.bytes(bytes)),
            0xc5 => self.number::<2>().and_then(|bytes| self.bytes(bytes)),
            0xc6 => self.number::<4>().and_then(|bytes| self.bytes(bytes)),
            0xc7 => self.number::<1>().and_then(|bytes| self.extension(bytes)),
            0xc8 => self.number::<2>().and_then(|bytes| self.extension(bytes)),
            0xc9 => self.number::<4>().and_then(|bytes| self.extension(bytes)),
            0xca => Ok(Head::Float(f32::from_be_bytes(self.fixed()?).into())),
            0xcb => Ok(Head::Float(f64::from_be_bytes(self.fixed()?))),
            0xd0 => self.signed::<1>(),
            0xd1 => self.signed::<2>(),
            0xd2 => self.signed::<4>(),
            0xd3 => self.signed::<8>(),
            0xd4..=0xd8 => self.extension(1 << (first - 0xd4)),
            0xd9 => self.number::<1>().and_then(|bytes| self.text(bytes)),
            0xda => self.number::<2>().and_then(|bytes| self.text(bytes)),
            0xdb => self.number::<4>().and_then(|bytes| self.text(bytes)),
            0xdc => Ok(Head::Array(self.number::<2>()? as u32)),
            0xdd => Ok(Head::Array(self.number::<4>()? as u32)),
            0xde => Ok(Head::Map(self.number::<2>()? as u32)),
            0xdf => Ok(Head::Map(self.number::<4>()? as u32)),
            _ => Err(EngineError::new(EngineErrorKind::UnexpectedByte, at)),
        }
    }

    /// Whether the next value is nil; nothing is taken.
    pub(super) fn is_at_nil(&self) -> bool {
        self.rest.first() == Some(&0xc0)
    }

    /// Passes over a short text, as keys are, or nil; `false` for all else.
    #[inline(always)]
    fn skip_short(&mut self) -> bool {
        let length = match self.rest.first() {
            Some(first @ 0xa0..=0xbf) => usize::from(first & 0x1f),
            Some(0xc0) => 0,
            _ => return false,
        };
        let rest = self.rest.get(1 + length..);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Passes over the next value and all that it holds, however nested, without recursion.
    pub(super) fn skip(&mut self) -> Result<(), EngineError> {
        let mut open: u64 = 1;
        while open > 0 {
            open -= 1;
            if self.unsigned().is_some() || self.skip_short() {
                continue;
            }
            open += match self.head()? {
                Head::Array(values) => u64::from(values),
                Head::Map(keys) => 2 * u64::from(keys),
                _ => continue,
            };
            // Each value has a byte at least: what promises more than there is, is not followed.
            if open > self.rest.len() as u64 {
                return Err(self.end());
            }
        }
        Ok(())
    }
}
