//! The panic boundary: no panic crosses into Envoy.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::abi::level;
use crate::envoy;

/// Runs a hook; where it panics, says so in the log and answers `otherwise`.
///
/// A hook's state is made of plain values that stay valid wherever it stops: at worst a ticket stays
/// open until it expires.
pub fn guard<T>(hook: &str, otherwise: T, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        envoy::log(level::ERROR, &format!("panic in {hook}; please report it"));
        otherwise
    })
}
