//! A router with custom policies.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Router,
    config::RouterConfig,
    core::Core,
    explain::{DecisionLog, DecisionRecord, Hook},
};
use crate::error::{ConfigError, PolicyError};
use crate::policy::{RoutingPolicy, factory::PolicyFactory};
use crate::random::Random;

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
        Ok(Router::from_core(Core::new(&self.config, factory, log)?))
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
