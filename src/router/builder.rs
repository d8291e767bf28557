//! A router with custom policies.

use std::sync::Arc;

use serde_json::Value;

use super::inner::Inner;
use super::{
    Router,
    config::RouterConfig,
    decision_log::{DecisionLog, DecisionRecord, Hook},
};
use crate::fleet::health_log::{self, HealthLog};
use crate::fleet::room::{self, Room};
use crate::policy::error::{ConfigError, PolicyError};
use crate::policy::{PolicyConfig, PolicyFactory, RoutingPolicy};
use crate::random::Random;
use crate::worker::health::HealthChange;

/// Builds a router from a configuration and a factory.
///
/// ```
/// use std::sync::Arc;
/// use pointsman::{policy::{Candidates, Decision, RequestView}, PolicyConfig, Reason, Router};
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
/// // Adding a policy makes its name known; setting it makes it decide.
/// let router = Router::builder()
///     .add_policy("first", |_options| Ok(Arc::new(First)))?
///     .set_policy(PolicyConfig::named("first"))
///     .build()?;
/// assert_eq!(router.policy(), "first");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A policy with options gets them as JSON, from `CustomConfig::new` or from a document:
///
/// ```
/// use std::sync::Arc;
/// use pointsman::{PolicyError, Router, RouterConfig, policy::random::RandomPolicy};
///
/// let document = r#"{"policy": {"custom": {"name": "repeatable", "options": {"seed": 5}}}}"#;
/// let router = Router::builder()
///     .config(RouterConfig::from_json(document)?)
///     .add_policy("repeatable", |options| match options["seed"].as_u64() {
///         Some(seed) => Ok(Arc::new(RandomPolicy::new(Some(seed)))),
///         None => Err(PolicyError::Options("seed is missing".to_owned())),
///     })?
///     .build()?;
/// assert_eq!(router.policy(), "repeatable");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct RouterBuilder {
    config: RouterConfig,
    policy: Option<PolicyConfig>,
    factory: PolicyFactory,
    log: Option<(u32, Hook)>,
    health_log: Option<health_log::Hook>,
    room: Option<room::Hook>,
}

impl Router {
    /// A router with policies from outside this crate, hooks, or both.
    pub fn builder() -> RouterBuilder {
        RouterBuilder::default()
    }
}

impl RouterBuilder {
    /// Sets everything that a document can set.
    pub fn config(mut self, config: RouterConfig) -> Self {
        self.config = config;
        self
    }

    /// Makes this policy decide, whatever the configuration's `policy` says: a built-in one, or one that
    /// was added.
    pub fn set_policy(mut self, policy: PolicyConfig) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Knows the policies registered with this factory, too. Where one was added under the same name
    /// before, the factory's is used.
    pub fn factory(mut self, factory: PolicyFactory) -> Self {
        self.factory.absorb(factory);
        self
    }

    /// Makes a policy of the host's own known under this name. It decides once it is set: by
    /// [`RouterBuilder::set_policy`], by the configuration, or later by [`Router::set_policy`].
    ///
    /// # Errors
    /// [`PolicyError::Duplicate`] if the name is taken.
    pub fn add_policy<F>(mut self, name: &str, constructor: F) -> Result<Self, PolicyError>
    where
        F: Fn(&Value) -> Result<Arc<dyn RoutingPolicy>, PolicyError> + Send + Sync + 'static,
    {
        self.factory.register(name, constructor)?;
        Ok(self)
    }

    /// Calls `hook` with one in `every` decisions, on the thread that asked, before the selection is
    /// returned. Without it nothing is collected. The hook may use the router; what it selects itself is
    /// not logged.
    pub fn decision_log(
        mut self,
        every: u32,
        hook: impl Fn(&DecisionRecord) + Send + Sync + 'static,
    ) -> Self {
        self.log = Some((every, Box::new(hook)));
        self
    }

    /// Calls `hook` when outcomes or time have ejected a worker, admitted it on probation, or made it
    /// healthy again. Without it nothing is collected.
    ///
    /// It is called without a lock, in order and by one thread at a time: the one whose call caused the
    /// change, or one that is reporting an earlier change at that moment. No other call waits for it. Up
    /// to 1,024 changes are queued; further ones are dropped. The hook may use the router; a hook that
    /// holds the router keeps it alive.
    pub fn health_log(mut self, hook: impl Fn(&HealthChange) + Send + Sync + 'static) -> Self {
        self.health_log = Some(Box::new(hook));
        self
    }

    /// Calls `hook` when a place may have come free since a request was refused as
    /// [`AllBusy`](crate::RoutingError::AllBusy), so that a host can let requests wait without asking again and
    /// again. Without it nothing is noted; async hosts may use [`Router::poll_select`] instead.
    ///
    /// To wait: put the request where the hook finds it, then select once more; whatever comes free after
    /// that is told. The hook is called once, by the thread that gave the place back, before its call
    /// returns; no lock is held, and it may use the router. It, or what it sets going, then selects for the
    /// waiting requests until one is refused again. A change of the fleet or the policies is told, too, as
    /// it may leave nothing to wait for.
    ///
    /// Time alone frees nothing: where ejected workers or forgotten tickets may be what is missing, call
    /// [`At::tick`](crate::At::tick) once in a while.
    pub fn on_room(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.room = Some(Box::new(hook));
        self
    }

    /// Builds the router.
    ///
    /// # Errors
    /// A number out of its range, or a policy that is unknown or refuses its options.
    pub fn build(mut self) -> Result<Router, ConfigError> {
        if let Some(policy) = self.policy {
            self.config.policy = policy;
        }
        let factory = match self.config.seed {
            Some(seed) => self.factory.seed(seed),
            None => self.factory,
        };
        let log = self
            .log
            .map(|(every, hook)| DecisionLog::new(every, hook, Random::new(self.config.seed)));
        let health_log = self.health_log.map(HealthLog::new);
        Ok(Router::from_inner(Inner::new(
            &self.config,
            factory,
            log,
            health_log,
            Room::new(self.room),
        )?))
    }
}

impl std::fmt::Debug for RouterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouterBuilder")
            .field("config", &self.config)
            .field("policy", &self.policy)
            .field("factory", &self.factory)
            .finish_non_exhaustive()
    }
}
