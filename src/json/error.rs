//! What can be wrong with a JSON text, and where.

/// A text that is not JSON, or is beyond what is read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {position}")]
#[non_exhaustive]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Offset, in the whole text, of the byte that shows it; for
    /// [`JsonErrorKind::InvalidUtf8`], of the first byte of the sequence. It does not depend on how
    /// the text was cut into chunks. 0 for a parsed value, which has no bytes.
    pub position: u64,
}

/// The ways in which a JSON text can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// A byte that cannot stand here.
    #[error("unexpected byte")]
    UnexpectedByte,
    /// The text ends before its value does.
    #[error("unexpected end")]
    UnexpectedEnd,
    /// Something other than white space follows the value.
    #[error("data after the end of the value")]
    TrailingData,
    /// A control character below U+0020 inside a string, which JSON wants escaped.
    #[error("control character in a string")]
    ControlCharacter,
    /// A backslash followed by no known escape.
    #[error("invalid escape")]
    InvalidEscape,
    /// Half of a surrogate pair, which stands for no character.
    #[error("unpaired surrogate")]
    UnpairedSurrogate,
    /// Bytes that are not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// A number whose value counts and that does not fit a double.
    #[error("number out of range")]
    NumberOutOfRange,
    /// A number whose value counts and that has more than
    /// [`MAX_NUMBER_BYTES`](super::MAX_NUMBER_BYTES) bytes.
    #[error("number too long")]
    NumberTooLong,
    /// More than [`MAX_DEPTH`](super::MAX_DEPTH) arrays and objects inside each other.
    #[error("nested too deeply")]
    TooDeep,
}
