//! What a host can set.

use crate::body::BodyConfig;
use crate::policy::error::ConfigError;
use crate::range;
use crate::router::config::{RouterConfig, TreeConfig};

/// How an adapter tracks requests. The defaults suit a router written against the proposal.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdapterOptions {
    /// The prefix tree, made only for policies that want one.
    pub tree: TreeConfig,
    /// How requests are read, for policies that want prefixes.
    pub body: BodyConfig,
    /// Whether the adapter or the host counts [`Worker::load`](crate::Worker::load).
    pub load: LoadKeeping,
    /// Seconds after which a request that was not completed gives its load back; 0 is never.
    pub deadline_secs: f64,
}

/// Which side counts the requests in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadKeeping {
    /// The adapter: up on selection, down on completion, never below zero.
    #[default]
    Adapter,
    /// The host; the adapter only reads.
    Host,
}

impl Default for AdapterOptions {
    fn default() -> Self {
        let router = RouterConfig::default();
        AdapterOptions {
            tree: router.tree,
            body: router.body,
            load: LoadKeeping::default(),
            deadline_secs: router.ticket_deadline_secs,
        }
    }
}

impl AdapterOptions {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        range::check("deadline_secs", self.deadline_secs, 0.0, 604_800.0)?;
        Ok(())
    }

    /// The deadline in nanoseconds.
    pub(super) fn deadline(&self) -> Option<u64> {
        (self.deadline_secs > 0.0).then_some((self.deadline_secs * 1e9) as u64)
    }
}
