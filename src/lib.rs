//! Routing brain for LLM serving: names the worker that should serve a request, inside the host's
//! own process, without a thread, a runtime or an allocation per request.
//!
//! Start with [`Router`]. A policy of your own is an implementation of [`RoutingPolicy`].
//!
//! ```text
//!  prefix   prompt -> fingerprint; the tree of the workers that hold its beginning
//!  json     JSON text -> events
//!  body     a request's JSON body -> fingerprint
//!  worker   identity, health, load of one inference engine
//!  engine   decoders of what engines say: KV events, loads
//!  pool     the members, and a snapshot made ready for choosing
//!  policy   the trait, the policies, configuration and factory
//!  prompt   a request's prompt, read once; the tree that goes with it
//!  ticket   the duty to give a request's load back once
//!  fleet    workers and policies as one published view
//!  router   fleet + prompts + tickets, joined: the loop that routes a request
//!  adapter  the original proposal's async trait over any policy (features `async`, `tower`)
//! ```
//!
//! Each layer knows only those above it in this list.
//!
//! What hosts need is here; what a policy's author needs is in [`policy`], and what hosts that make
//! fingerprints need in [`prefix`].

/// The README's code, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// The code in the page about engines, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/engines.md")]
pub struct Engines;

#[cfg(any(feature = "async", feature = "tower"))]
pub mod adapter;
pub mod body;
pub mod engine;
mod fleet;
mod json;
pub mod metrics;
mod name;
pub mod policy;
mod pool;
pub mod prefix;
mod prompt;
mod random;
mod range;
mod request;
mod router;
mod sync;
mod ticket;
mod time;
mod worker;

pub use crate::body::BodyConfig;
pub use crate::metrics::MetricsSnapshot;
pub use crate::name::UnknownName;
pub use crate::policy::error::{ConfigError, PolicyError, PolicyFailure, RoutingError};
pub use crate::policy::{BestMatch, PolicyConfig, Reason, RoutingPolicy, Usage};
pub use crate::pool::{MAX_WORKERS, error::PoolError, status::WorkerStatus};
pub use crate::prefix::{Fingerprint, FingerprintError};
pub use crate::range::OutOfRange;
pub use crate::request::{Prompt, Request};
pub use crate::router::{
    Router,
    at::At,
    builder::RouterBuilder,
    config::{RouterConfig, SplitConfig, TreeConfig},
    decision_log::DecisionRecord,
    selection::{Chosen, DetachedSelection, PairSelection, Selection},
};
pub use crate::ticket::error::TicketError;
pub use crate::ticket::number::Ticket;
pub use crate::time::Time;
pub use crate::worker::{
    Role, WorkerId,
    change::WorkerChange,
    health::{HealthChange, HealthConfig, HealthState, HostHealth, Outcome},
    proposal::Worker,
    spec::{WorkerInfo, WorkerSpec},
    {report::LoadReport, state::WorkerState},
};

/// For this project's own benches, fuzz targets and tests: may change at any time.
#[doc(hidden)]
pub mod internals {
    pub use crate::policy::cache_aware::least_work::formula;
    pub use crate::prefix::tree::{Matches, PrefixTree, Registration, Remembered, TreeError};
}
