//! The C interface of pointsman. Nothing of routing is decided here: every function checks its
//! arguments, calls the router, and translates the answer.
//!
//! The header `include/pointsman.h` is generated from these files, one section for each or a few of
//! them; its comments are the comments here, written for C readers.
//!
//! What the interface is made of, each from what is above it:
//!
//! - [`status`], [`special`]: status codes, and numbers with a meaning of their own.
//! - `text`, [`failure`]: errors as codes and messages.
//! - `boundary`: the macro that makes every export, and with it the panic boundary.
//! - `callback`: the host's own functions.
//! - `argument`, `handle`: what C passes, checked once: pointers, strings, arrays, sized structs and
//!   handles.
//!
//! The interface itself, in the order of the header: [`version`], [`errors`], [`router`], [`role`], [`label`], [`worker`],
//! [`listing`], [`request`], [`reason`], [`selection`], [`outcome`], [`route`], [`fingerprint`],
//! [`fingerprinter`], [`kv_event`], [`engine`], [`engine_load`], [`metrics`], [`log`], [`policy`], [`builder`]; and `own_policy`, a host's policy
//! at work. No file needs, in a circle, what needs it: `tests/imports.rs` holds that.

#[macro_use]
mod boundary;
#[macro_use]
mod argument;
#[macro_use]
mod handle;
pub mod builder;
mod callback;
pub mod engine;
pub mod engine_load;
pub mod errors;
mod failure;
pub mod fingerprint;
pub mod fingerprinter;
pub mod kv_event;
pub mod label;
pub mod listing;
pub mod log;
pub mod metrics;
pub mod outcome;
mod own_policy;
pub mod policy;
pub mod reason;
pub mod request;
pub mod role;
pub mod room;
pub mod route;
pub mod router;
pub mod selection;
pub mod special;
pub mod status;
mod text;
mod unwind;
pub mod version;
pub mod worker;
