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

/// What a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// An object's key.
    Key,
    /// A value.
    Text,
}

/// Least room for a piece of a string.
pub(super) const MIN_ROOM: usize = 192;

/// Longest string that [`Events::short`] takes.
pub(super) const MAX_SHORT: usize = 32;

/// Hears a JSON value as a flat run of events.
///
/// A string's unescaped bytes are written straight to where the listener wants them, in pieces cut
/// anywhere; its result must not depend on the cuts. The caller vouches for well-formed order: keys
/// only in objects, each followed by one value.
pub(super) trait Events {
    /// A key begins.
    fn key_begin(&mut self);
    /// A string value begins.
    fn text_begin(&mut self);
    /// At least [`MIN_ROOM`] bytes for the next piece of the string under way.
    fn room(&mut self, role: Role) -> &mut [u8];
    /// So many bytes of the room were written.
    fn wrote(&mut self, role: Role, bytes: usize);
    /// The whole of the string under way, with no escape in it, is the first `length` bytes of
    /// `block`. The same as writing them, in fewer steps.
    fn short(&mut self, role: Role, block: &[u8; MAX_SHORT], length: usize) {
        self.write(role, &block[..length]);
    }
    /// The key is complete.
    fn key_end(&mut self);
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

    /// Writes a piece that lies elsewhere.
    fn write(&mut self, role: Role, mut piece: &[u8]) {
        while !piece.is_empty() {
            let room = self.room(role);
            let (now, rest) = piece.split_at(piece.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.wrote(role, now.len());
            piece = rest;
        }
    }
}
