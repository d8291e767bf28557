//! The C interface of pointsman. Nothing of routing is decided here: every function checks its
//! arguments, calls the router, and translates the answer.
//!
//! The header `include/pointsman.h` is generated from these files, one section for each; its
//! comments are the comments here, written for C readers.
//!
//! - [`boundary`]: the macro that makes every export, and with it the panic boundary.
//! - [`status`]: status codes, and errors as codes and messages.
//! - [`argument`]: pointers, strings, arrays and sized structs, checked once.
//! - [`version`], [`router`], [`worker`], [`listing`], [`request`], [`route`], [`reason`],
//!   [`fingerprint`], [`fingerprinter`], [`metrics`], [`log`], [`policy`], [`builder`]: the interface
//!   itself, in the order of the header.
//! - [`own_policy`]: a host's policy at work.

#[macro_use]
mod boundary;
#[macro_use]
mod argument;
pub mod builder;
pub mod fingerprint;
pub mod fingerprinter;
pub mod listing;
pub mod log;
pub mod metrics;
pub mod outcome;
mod own_policy;
pub mod policy;
pub mod reason;
pub mod request;
pub mod route;
pub mod router;
pub mod status;
mod unwind;
pub mod version;
pub mod worker;
