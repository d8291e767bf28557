//! A router with custom policies.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Router,
    config::RouterConfig,
    core::Core,
    explain::{DecisionLog, DecisionRecord, Hook},
    watch::{self, HealthWatch},
};
use crate::error::{ConfigError, PolicyError};
use crate::policy::{RoutingPolicy, factory::PolicyFactory};
use crate::random::Random;
use crate::worker::health::HealthChange;

/// Builds a router from a configuration and a factory.
///
/// ```
/// use std::sync::Arc;
/// use pointsman::{Candidates, Decision, PolicyConfig, Reason, RequestView, Router, RouterConfig};
/// use pointsman::{RoutingError, RoutingPolicy};
///
/// /// Always the first candidate.
/// struct First;
///
/// impl RoutingPolicy for First {
///     fn name(&self) -> &str {
///         "first"
///     }
///     fn select_single(
///         &self,
///         candidates: &Candidates<'_>,
///         _request: &RequestView<'_>,
///     ) -> Result<Decision, RoutingError> {
///         let first = candidates.iter().next().ok_or_else(|| candidates.none())?;
///         Ok(Decision::new(first.id(), Reason::Custom))
///     }
/// }
///
/// let mut config = RouterConfig::default();
/// config.policy = PolicyConfig::named("first");
/// let router = Router::builder()
///     .config(config)
///     .policy("first", |_options| Ok(Arc::new(First)))?
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct RouterBuilder {
    config: RouterConfig,
    factory: PolicyFactory,
    log: Option<(u32, Hook)>,
    watch: Option<watch::Hook>,
}

impl RouterBuilder {
    /// Sets everything that a document can set.
    pub fn config(mut self, config: RouterConfig) -> Self {
        self.config = config;
        self
    }

    /// Uses this factory, with the policies registered there.
    pub fn factory(mut self, factory: PolicyFactory) -> Self {
        self.factory = factory;
        self
    }

    /// Registers one policy of the host's own.
    pub fn policy<F>(mut self, name: &str, constructor: F) -> Result<Self, PolicyError>
    where
        F: Fn(&Value) -> Result<Arc<dyn RoutingPolicy>, PolicyError> + Send + Sync + 'static,
    {
        self.factory.register(name, constructor)?;
        Ok(self)
    }

    /// Calls `hook` with one in `every` decisions, on the thread that asked, before the selection is
    /// returned. Without it nothing is collected.
    pub fn decision_log(
        mut self,
        every: u32,
        hook: impl Fn(&DecisionRecord) + Send + Sync + 'static,
    ) -> Self {
        self.log = Some((every, Box::new(hook)));
        self
    }

    /// Calls `hook` when outcomes or time have ejected a worker, let it in on probation, or made it
    /// healthy again. Without it nothing is collected.
    ///
    /// It is called without a lock, in order and by one thread at a time: by the one whose call has
    /// brought the change about, or by one that was telling an earlier change just then. No other
    /// call waits for it; up to 1,024 changes do, and what comes on top is dropped. It may use the
    /// router.
    pub fn health_log(mut self, hook: impl Fn(&HealthChange) + Send + Sync + 'static) -> Self {
        self.watch = Some(Box::new(hook));
        self
    }

    /// Builds the router.
    pub fn build(self) -> Result<Router, ConfigError> {
        let factory = match self.config.seed {
            Some(seed) => self.factory.seed(seed),
            None => self.factory,
        };
        let log = self.log.map(|(every, hook)| DecisionLog {
            every,
            hook,
            random: Random::new(self.config.seed),
        });
        let watch = self.watch.map(HealthWatch::new);
        Ok(Router::from_core(Core::new(&self.config, factory, log, watch)?))
    }
}

impl std::fmt::Debug for RouterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouterBuilder")
            .field("config", &self.config)
            .field("factory", &self.factory)
            .finish_non_exhaustive()
    }
}
