//! The interface between the two readers and the one meaning of a body.

/// Whether a container is an object or an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Array,
}

/// A number as `serde_json` tells numbers apart: by sign, and by having a fraction or exponent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Num {
    Unsigned(u64),
    Negative(i64),
    Float(f64),
}

/// `true`, `false` or `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    True,
    False,
    Null,
}

/// Hears a JSON value as a flat run of events. Strings arrive unescaped, in pieces cut anywhere;
/// the listener's result must not depend on the cuts.
///
/// The caller vouches for well-formed order: keys only in objects, each followed by one value.
pub(super) trait Events {
    /// A piece of the key that is being read.
    fn key(&mut self, piece: &[u8]);
    /// The key is complete.
    fn key_end(&mut self);
    /// A string value begins.
    fn text_begin(&mut self);
    /// A piece of the string value.
    fn text(&mut self, piece: &[u8]);
    /// The string value is complete.
    fn text_end(&mut self);
    /// Whether the next number's value matters; asked when a number ends.
    fn wants_number(&self) -> bool;
    /// A number whose value matters.
    fn number(&mut self, number: Num);
    /// A number whose value does not.
    fn number_skipped(&mut self);
    /// `true`, `false` or `null`.
    fn literal(&mut self, literal: Literal);
    /// An object or array begins.
    fn begin(&mut self, shape: Shape);
    /// The innermost object or array ends.
    fn end(&mut self);
}
