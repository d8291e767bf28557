//! Hears the engines: decoders of what they say about their caches and loads, without a socket, a thread
//! or a runtime. The host fetches the bytes, these say what they mean.
//!
//! - [`KvStream`]: one worker's KV events, as vLLM and SGLang publish them over ZeroMQ.
//! - [`CacheMeter`]: how full its cache is and how fast it evicts, for
//!   [`Router::report_cache`](crate::Router::report_cache).
//! - [`Loads`]: one worker's load, from a text of Prometheus, an ORCA header, or SGLang's `/v1/loads`.
//!
//! ```
//! use pointsman::engine::{KvEvent, KvStream, Source};
//!
//! let mut stream = KvStream::new(); // one for each worker
//! # let (topic, sequence): (&[u8], &[u8]) = (b"kv-events", &[0; 8]);
//! # let payload: &[u8] = &[0x92, 0x01, 0x91, 0x91, 0xb0, b'A', b'l', b'l', b'B', b'l', b'o', b'c', b'k',
//! #     b's', b'C', b'l', b'e', b'a', b'r', b'e', b'd'];
//! let frames = [topic, sequence, payload]; // as they came from the socket
//! let fed = stream.feed(Source::Live, &frames, |event| match event {
//!     KvEvent::Stored(stored) => println!("{} tokens more", stored.block_tokens()),
//!     KvEvent::Removed(removed) => println!("{} blocks fewer", removed.hashes.len()),
//!     KvEvent::Gap(gap) => println!("messages {} to {} are missing", gap.from, gap.to),
//!     _ => println!("nothing is cached any more"),
//! })?;
//! assert_eq!((fed.events, fed.refused), (1, 0));
//! # Ok::<(), pointsman::engine::EngineError>(())
//! ```
//!
//! # Why the reader of msgpack is our own
//!
//! The events need one thing of a msgpack reader: a value's head, where it begins, and a way past all
//! that it holds. The crates that were looked at (`rmp`, `rmp-serde`, `msgpacker`) read through `io::Read`
//! without telling places, or into types that own their vectors, and none passes over a value without
//! building it. It takes a hundred and fifty lines here, without recursion and without `unsafe`, and is
//! no dependency for embedders.

mod error;
mod kv;
mod load;
mod msgpack;

pub use error::{EngineError, EngineErrorKind};
pub use kv::event::{Attention, Gap, KvEvent, Medium, Place, Removed, Stored};
pub use kv::meter::CacheMeter;
pub(crate) use kv::meter::Drained;
pub use kv::stream::{Fed, KvStream, MAX_RANKS, Message, Source};
pub use kv::values::{Hashes, Token, Tokens};
pub use load::loads::{EngineLoad, Loads};
