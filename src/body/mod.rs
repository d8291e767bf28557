//! From a request body to a [`Fingerprint`](crate::prefix::Fingerprint), in one pass over the bytes as
//! they arrive.
//!
//! [`BodyReader`] takes raw bytes, cut into chunks anywhere, and [`read_value`] a parsed
//! `serde_json::Value`. The JSON reader reports the same events for both to the same listener, which
//! knows what the fields of a body mean; so both give the same fingerprint.
//!
//! ```text
//! JSON events -> listener -> meaning -> hasher -> Fingerprinter
//!                               |
//!                               +----> canonical (opaque values)
//! ```
//!
//! The prompt's text is hashed as it is unescaped. The other fields may come in any order and
//! the text is not held back for them, so they are summed up and follow the text as a record: two
//! messages that differ in their role only share the blocks of their text. What engines render before
//! the messages (`system`, `tools`) is hashed or digested for itself and put in order at the end.
//!
//! Nothing is allocated.

mod action;
mod canonical;
mod config;
mod digest;
mod error;
mod facts;
mod fields;
mod fingerprint;
mod hasher;
mod listener;
mod meaning;
mod media;
mod object;
mod profile;
mod scope;
mod string;
mod turn;

pub use config::{BodyConfig, BodyOptions};
pub use error::BodyError;
pub use fingerprint::{BodyFingerprint, BodyKind, NoPrefix};
pub use profile::{History, RenderProfile, ToolsAt};
pub use turn::UserTurn;

pub use crate::json::{JsonError, JsonErrorKind, MAX_DEPTH, MAX_NUMBER_BYTES};

use crate::json::{self, Parser};
use crate::prefix::HashKey;
use meaning::Meaning;

/// Reads a raw JSON body chunk by chunk.
///
/// Every way of cutting a body into chunks gives the same result. Less than 24 KiB, on the caller's
/// stack.
pub struct BodyReader<'k, 'b> {
    parser: Parser,
    meaning: Meaning<'k, 'b>,
    max_bytes: u64,
    failed: Option<BodyError>,
}

impl<'k, 'b> BodyReader<'k, 'b> {
    /// A reader whose block hashes go to `out`; what it has no room for is counted and not hashed.
    #[inline(always)]
    pub fn new(key: &'k HashKey, options: BodyOptions, out: &'b mut [u64]) -> Self {
        BodyReader {
            parser: Parser::new(),
            meaning: Meaning::new(key, options, out),
            max_bytes: options.config.max_bytes,
            failed: None,
        }
    }

    /// Reads the next chunk, in time linear in its length.
    ///
    /// # Errors
    /// What is wrong with the body. Every later call returns the same error.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), BodyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let room = usize::try_from(self.max_bytes - self.parser.taken()).unwrap_or(usize::MAX);
        let within = &chunk[..chunk.len().min(room)];
        let mut result = self.parser.push(within, &mut self.meaning).map_err(BodyError::from);
        if result.is_ok() && within.len() < chunk.len() {
            result = Err(BodyError::TooLong { max_bytes: self.max_bytes });
        }
        self.failed = result.err();
        result
    }

    /// Ends the body.
    ///
    /// # Errors
    /// What [`push`](Self::push) found wrong, or [`JsonErrorKind::UnexpectedEnd`].
    pub fn finish(mut self) -> Result<BodyFingerprint<'b>, BodyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.parser.finish(&mut self.meaning)?;
        Ok(self.meaning.finish())
    }
}

impl std::fmt::Debug for BodyReader<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyReader")
            .field("taken", &self.parser.taken())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// Reads a whole raw body. See [`BodyReader`].
///
/// # Errors
/// What is wrong with the body.
pub fn read_body<'b>(
    key: &HashKey,
    options: BodyOptions,
    body: &[u8],
    out: &'b mut [u64],
) -> Result<BodyFingerprint<'b>, BodyError> {
    // Without a `BodyReader`, which would be moved: it is large.
    let mut parser = Parser::new();
    let mut meaning = Meaning::new(key, options, out);
    let max_bytes = options.config.max_bytes;
    let within = usize::try_from(max_bytes).map_or(body, |most| &body[..body.len().min(most)]);
    parser.push(within, &mut meaning)?;
    if within.len() < body.len() {
        return Err(BodyError::TooLong { max_bytes });
    }
    parser.finish(&mut meaning)?;
    Ok(meaning.finish())
}

/// Reads a parsed body, with the result that [`BodyReader`] has for its bytes.
///
/// # Errors
/// [`JsonErrorKind::TooDeep`] only.
pub fn read_value<'b>(
    key: &HashKey,
    options: BodyOptions,
    body: &serde_json::Value,
    out: &'b mut [u64],
) -> Result<BodyFingerprint<'b>, BodyError> {
    let mut meaning = Meaning::new(key, options, out);
    json::report(body, &mut meaning)?;
    Ok(meaning.finish())
}
