//! Hashes and tokens of an event, read where they lie in the payload.

use crate::engine::error::{EngineError, EngineErrorKind};
use crate::engine::msgpack::{Head, Reader};

/// The hashes of an event's blocks, in the order of the blocks.
///
/// Each is the low 64 bits of the engine's: of a hash in bytes the last eight, of a signed number the
/// same 64 bits without sign. So a hash is the same number in whatever form the engine writes it.
#[derive(Clone, Copy, Debug)]
pub struct Hashes<'a> {
    first: Reader<'a>,
    count: u32,
}

/// A token of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: u32,
    /// The token after it, where the engine caches pairs of neighbours, as SGLang does under EAGLE.
    pub next: Option<u32>,
}

/// The tokens of an event's blocks.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    first: Reader<'a>,
    count: u32,
}

/// A hash as the engine writes it.
#[inline]
pub(super) fn hash(reader: &mut Reader<'_>) -> Result<Option<u64>, EngineError> {
    match reader.unsigned() {
        Some(hash) => Ok(Some(hash)),
        None => other_hash(reader),
    }
}

fn other_hash(reader: &mut Reader<'_>) -> Result<Option<u64>, EngineError> {
    let start = *reader;
    match reader.head()? {
        Head::Nil => Ok(None),
        Head::Unsigned(hash) => Ok(Some(hash)),
        Head::Negative(hash) => Ok(Some(hash as u64)),
        Head::Bytes(bytes) => {
            let last = &bytes[bytes.len().saturating_sub(8)..];
            Ok(Some(last.iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte))))
        }
        _ => Err(start.error(EngineErrorKind::WrongType)),
    }
}

#[inline]
fn token(reader: &mut Reader<'_>) -> Result<Token, EngineError> {
    let start = *reader;
    match reader.unsigned().map(u32::try_from) {
        Some(Ok(id)) => Ok(Token { id, next: None }),
        Some(Err(_)) => Err(start.error(EngineErrorKind::WrongType)),
        None => pair(reader),
    }
}

fn pair(reader: &mut Reader<'_>) -> Result<Token, EngineError> {
    let wrong = reader.error(EngineErrorKind::WrongType);
    let id = |reader: &mut Reader<'_>| match reader.head()? {
        Head::Unsigned(id) => u32::try_from(id).map_err(|_| wrong),
        _ => Err(wrong),
    };
    match reader.head()? {
        Head::Array(2) => Ok(Token { id: id(reader)?, next: Some(id(reader)?) }),
        // A number that is written with a sign, though it has none.
        Head::Unsigned(id) => Ok(Token { id: u32::try_from(id).map_err(|_| wrong)?, next: None }),
        _ => Err(wrong),
    }
}

/// The length of the array that comes next; `None` for nil.
fn array(reader: &mut Reader<'_>) -> Result<Option<u32>, EngineError> {
    let start = *reader;
    match reader.head()? {
        Head::Array(count) => Ok(Some(count)),
        Head::Nil => Ok(None),
        _ => Err(start.error(EngineErrorKind::WrongType)),
    }
}

impl<'a> Hashes<'a> {
    /// All of them are looked at, so that reading them later cannot fail. `None` for nil.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, EngineError> {
        let Some(count) = array(reader)? else { return Ok(None) };
        let first = *reader;
        for _ in 0..count {
            let here = *reader;
            if hash(reader)?.is_none() {
                return Err(here.error(EngineErrorKind::WrongType));
            }
        }
        Ok(Some(Hashes { first, count }))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none, as of a windowed group's block that lies outside its window.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = u64> + 'a {
        let mut reader = self.first;
        (0..self.count).map_while(move |_| hash(&mut reader).ok().flatten())
    }
}

impl<'a> Tokens<'a> {
    /// As [`Hashes::read`].
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, EngineError> {
        let Some(count) = array(reader)? else { return Ok(None) };
        let first = *reader;
        for _ in 0..count {
            token(reader)?;
        }
        Ok(Some(Tokens { first, count }))
    }

    pub(super) fn none() -> Self {
        Tokens { first: Reader::new(&[]), count: 0 }
    }

    /// How many there are; pairs count as one.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none, as of blocks that the engine has moved to another medium.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = Token> + 'a {
        let mut reader = self.first;
        (0..self.count).map_while(move |_| token(&mut reader).ok())
    }
}
