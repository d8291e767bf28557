//! What a document consists of, reported piece by piece to a listener.

/// What holds other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Object,
    Array,
}

/// A number: a whole one that is written without fraction and exponent and that fits, else a double. So
/// it has one value whatever features of `serde_json` are switched on in the program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Unsigned(u64),
    /// Below 0.
    Negative(i64),
    /// The nearest double; `-0` is one.
    Float(f64),
}

impl Number {
    /// Its value, if that is whole and not negative.
    pub(crate) fn whole(self) -> Option<u64> {
        match self {
            Number::Unsigned(value) => Some(value),
            Number::Float(value) if value >= 0.0 && value.fract() == 0.0 => Some(value as u64),
            _ => None,
        }
    }

    /// What `text` says, which is a number by the grammar of JSON.
    pub(super) fn from_text(text: &str) -> Number {
        if let Ok(value) = text.parse() {
            return Number::Unsigned(value);
        }
        match text.parse() {
            Ok(value @ ..0) => Number::Negative(value),
            // `-0` is the integer 0 to the standard library.
            _ => Number::Float(text.parse().unwrap_or(f64::NAN)),
        }
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Number {
        if let Some(value) = number.as_u64() {
            return Number::Unsigned(value);
        }
        match number.as_i64() {
            Some(value @ ..0) => Number::Negative(value),
            // With `arbitrary_precision` an integer 0 that has a sign.
            Some(_) => Number::Float(-0.0),
            // With `arbitrary_precision` it may lie beyond every double, and has no value then.
            None => Number::Float(number.as_f64().unwrap_or(f64::INFINITY)),
        }
    }
}

/// `true`, `false` or `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Literal {
    True,
    False,
    Null,
}

impl Literal {
    pub(super) fn word(self) -> &'static [u8] {
        match self {
            Literal::True => b"true",
            Literal::False => b"false",
            Literal::Null => b"null",
        }
    }
}

/// What a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StringKind {
    /// An object's key.
    Key,
    Value,
}

/// Least room for a piece of a string.
pub(crate) const MIN_ROOM: usize = 192;

/// Longest string that [`Events::short`] takes.
pub(crate) const MAX_SHORT: usize = 32;

/// Hears a JSON value as a flat run of events.
///
/// A string's unescaped bytes are written straight to where the listener wants them, in pieces cut
/// anywhere; its result must not depend on the cuts. The caller guarantees well-formed order: keys
/// only in objects, each followed by one value.
pub(crate) trait Events {
    /// A string begins.
    fn string_begin(&mut self, kind: StringKind);
    /// At least [`MIN_ROOM`] bytes for the next piece of the string under way.
    fn room(&mut self, kind: StringKind) -> &mut [u8];
    /// This many bytes of the room were written.
    fn wrote(&mut self, kind: StringKind, bytes: usize);
    /// The next piece of the string under way, which lies elsewhere.
    fn piece(&mut self, kind: StringKind, piece: &[u8]);
    /// The whole of the string under way is the first `length` bytes of `block`. The same as a
    /// piece, in fewer steps.
    fn short(&mut self, kind: StringKind, block: &[u8; MAX_SHORT], length: usize);
    /// The string is complete.
    fn string_end(&mut self, kind: StringKind);
    /// Whether the next number's value matters; asked when a number ends. Others are read over.
    fn wants_number(&self) -> bool;
    /// A number whose value matters.
    fn number(&mut self, number: Number);
    /// `true`, `false` or `null`.
    fn literal(&mut self, literal: Literal);
    /// An object or array begins.
    fn begin(&mut self, container: Container);
    /// The innermost object or array ends.
    fn end(&mut self);
}
