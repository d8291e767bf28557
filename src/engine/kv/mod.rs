//! What engines say about their KV caches.
//!
//! - [`stream`]: one worker's stream: frames, sequences, gaps, restarts.
//! - [`batch`]: a payload's events, in each of the forms that engines have written them.
//! - [`event`]: what is handed out.
//! - [`meter`]: how full a cache is, and how fast it evicts.
//! - [`values`]: hashes and tokens, read where they lie in the payload.

pub(super) mod batch;
pub(super) mod event;
pub(crate) mod meter;
pub(super) mod stream;
pub(super) mod values;
