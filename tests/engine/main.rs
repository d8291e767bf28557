//! What engines say, decoded: real messages, hand-made ones, and broken ones.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod captures;
mod forms;
mod loads;
mod messages;
mod meter;
mod stream;
