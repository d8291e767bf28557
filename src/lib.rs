//! Routing brain for LLM serving: names the worker that should serve a request, inside the host's
//! own process, without a thread, a runtime or an allocation per request.
//!
//! Start with [`Router`]. A policy of your own is an implementation of [`RoutingPolicy`].
//!
//! ```text
//!  prefix   prompt -> fingerprint; the tree of who holds how much of it
//!  worker   identity, health, load of one inference engine
//!  pool     the members, and a snapshot made ready for choosing
//!  policy   the trait, the policies, configuration and factory
//!  router   pool + policies + one tree + tickets + metrics
//!  adapter  the original proposal's async trait over any policy (features `async`, `tower`)
//! ```
//!
//! Each layer knows only those above it in this list.

/// The README's code, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

#[cfg(any(feature = "async", feature = "tower"))]
pub mod adapter;
mod error;
mod fleet;
pub mod metrics;
pub mod policy;
mod pool;
pub mod prefix;
mod prompt;
mod random;
pub mod request;
mod router;
mod sync;
mod ticket;
mod time;
mod worker;

pub use crate::error::{
    ConfigError, PolicyError, PolicyFailure, PoolError, RoutingError, TicketError,
};
pub use crate::metrics::MetricsSnapshot;
pub use crate::policy::{
    Completion, Decision, Dispatch, FirstToken, PairDecision, Reason, RequestView, RoutingPolicy,
    RunnerUp, Usage,
    cache_aware::{
        least_work::{LeastWorkConfig, Speed},
        threshold::ThresholdConfig,
    },
    config::{CacheAwareConfig, CacheAwareRule, CustomConfig, PolicyConfig, PowerOfTwoConfig},
    factory::PolicyFactory,
    load_balancing::LoadBalancing,
};
pub use crate::pool::{
    MAX_WORKERS,
    candidates::{Best, Candidate, Candidates},
    registry::WorkerStatus,
    set::SlotSet,
};
pub use crate::prefix::{Fingerprint, FingerprintError};
pub use crate::random::Random;
pub use crate::request::{Prompt, Request};
pub use crate::router::{
    Router,
    at::At,
    builder::RouterBuilder,
    config::{BodyConfig, RouterConfig, SplitConfig, TreeConfig},
    decision_log::DecisionRecord,
    selection::{Chosen, DetachedSelection, PairSelection, Selection},
};
pub use crate::ticket::number::Ticket;
pub use crate::time::Time;
pub use crate::worker::{
    Role, WorkerId,
    health::{HealthChange, HealthConfig, HealthState, HostHealth, Outcome},
    proposal::Worker,
    spec::{WorkerInfo, WorkerSpec},
    state::{LoadReport, WorkerState},
};
