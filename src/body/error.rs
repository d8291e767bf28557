//! Why a body cannot be read.

use crate::json::JsonError;

/// A body that cannot be read. Nothing of such a body is routed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is not JSON as this library reads it.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It has more bytes than [`BodyConfig::max_bytes`](super::BodyConfig::max_bytes).
    #[error("longer than {max_bytes} bytes")]
    TooLong {
        /// Most bytes that a body may have.
        max_bytes: u64,
    },
}
