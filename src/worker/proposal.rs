//! The `Worker` trait of the original proposal, for routers that bring a worker type of their own.

use std::{fmt, sync::atomic::AtomicUsize};

use super::{Role, state::WorkerState};

/// An inference engine as the proposal's routers hold it: `Arc<dyn Worker>`.
pub trait Worker: Send + Sync + fmt::Debug {
    /// The URL: unique among the workers of a router.
    fn url(&self) -> &str;

    /// Whether new requests may go there.
    fn is_healthy(&self) -> bool;

    /// Requests in flight. The adapter raises it on selection and lowers it on completion.
    fn load(&self) -> &AtomicUsize;

    /// The worker's share relative to others. Default 1.
    fn weight(&self) -> f64 {
        1.0
    }

    /// What the worker does. Default regular.
    fn role(&self) -> Role {
        Role::Regular
    }

    /// The library's own row of counters, for types that embed one. Default none.
    fn state(&self) -> Option<&WorkerState> {
        None
    }
}
