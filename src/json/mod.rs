//! A reader of JSON text (RFC 8259) that reports what it reads as [`Events`], without a buffer for
//! strings.
//!
//! ```text
//! raw bytes -> utf8 -> parser -> string, number --+
//!                                                 +--> events
//! serde_json::Value -> value ---------------------+
//! ```
//!
//! [`Parser`] takes raw bytes, cut into chunks anywhere, and [`report`] a parsed value. Both report
//! the same events for the same document; neither allocates. The parser needs no recursion and the
//! same time per byte for every document, however nested.

mod error;
mod escape;
mod events;
mod nest;
mod number;
mod parser;
mod scan;
mod special;
mod string;
#[cfg(test)]
mod tests;
mod utf8;
mod value;

pub use error::{JsonError, JsonErrorKind};
pub(crate) use events::{Container, Events, Literal, MAX_SHORT, MIN_ROOM, Number, StringKind};
pub use nest::MAX_DEPTH;
pub use number::MAX_NUMBER_BYTES;
pub(crate) use parser::Parser;
pub(crate) use value::report;
