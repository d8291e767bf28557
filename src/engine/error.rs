//! What can be wrong with what an engine sent, and where.

use crate::json::{JsonError, JsonErrorKind};

/// What an engine sent cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {position}")]
#[non_exhaustive]
pub struct EngineError {
    /// What is wrong.
    pub kind: EngineErrorKind,
    /// Offset of the byte that shows it, in the payload or text; of the sequence's frame, how many
    /// bytes it has.
    pub position: usize,
}

impl EngineError {
    pub(super) fn new(kind: EngineErrorKind, position: usize) -> Self {
        EngineError { kind, position }
    }
}

impl From<JsonError> for EngineError {
    fn from(error: JsonError) -> Self {
        EngineError::new(EngineErrorKind::Json(error.kind), error.position as usize)
    }
}

/// The ways in which what an engine sent can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineErrorKind {
    /// Fewer frames than a sequence and a payload.
    #[error("a message of fewer than two frames")]
    TooFewFrames,
    /// The frame before the payload is not a number of eight bytes.
    #[error("a sequence that is not eight bytes")]
    Sequence,
    /// The payload ends before its value does.
    #[error("unexpected end")]
    UnexpectedEnd,
    /// The one byte that msgpack never uses.
    #[error("a byte that msgpack does not use")]
    UnexpectedByte,
    /// Something follows the value.
    #[error("data after the end of the value")]
    TrailingData,
    /// Not an array of a time, events and a rank.
    #[error("not a batch of events")]
    NotABatch,
    /// A rank that is no number below 2³².
    #[error("a rank that is not a small number")]
    Rank,
    /// The message is of one rank more than [`MAX_RANKS`](super::MAX_RANKS).
    #[error("too many ranks")]
    TooManyRanks,
    /// An event that is neither an array nor a map, or has no name.
    #[error("an event without a name")]
    NotAnEvent,
    /// An event lacks a field that it cannot be understood without.
    #[error("a field is missing")]
    MissingField,
    /// A field of another type than it has.
    #[error("a field of the wrong type")]
    WrongType,
    /// A metric that this library reads, without a value that is a number, or with labels that do not
    /// end.
    #[error("a metric that cannot be read")]
    Metric,
    /// A load header that is neither `TEXT` nor `JSON`.
    #[error("neither TEXT nor JSON")]
    Format,
    /// A JSON document that is none.
    #[error("{0}")]
    Json(JsonErrorKind),
}
