//! Policies from configuration, and policies from outside this crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::builtin::PolicyConfig;
use super::by_name::ByName;
use super::error::{ConfigError, PolicyError};
use super::routing_policy::RoutingPolicy;

/// Builds a custom policy from its options.
pub type Constructor =
    Box<dyn Fn(&Value) -> Result<Arc<dyn RoutingPolicy>, PolicyError> + Send + Sync>;

/// Builds policies from configuration. A value, not a registry: two routers may know different
/// custom policies under one name.
#[derive(Default)]
pub struct PolicyFactory {
    constructors: BTreeMap<String, Constructor>,
    seed: Option<u64>,
}

impl PolicyFactory {
    /// Builds a built-in policy, as in the original proposal.
    pub fn create(config: &PolicyConfig) -> Result<Arc<dyn RoutingPolicy>, ConfigError> {
        PolicyFactory::with_builtins().build(config)
    }

    /// Knows the built-in policies and no others.
    pub fn with_builtins() -> Self {
        Self::default()
    }

    /// Makes every policy built from here on draw from this seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Adds a policy under a name that `PolicyConfig::Custom` and JSON documents can use. A router's
    /// metrics call it by this name, whatever its own [`RoutingPolicy::name`] says.
    pub fn register<F>(
        &mut self,
        name: impl Into<String>,
        constructor: F,
    ) -> Result<(), PolicyError>
    where
        F: Fn(&Value) -> Result<Arc<dyn RoutingPolicy>, PolicyError> + Send + Sync + 'static,
    {
        let name = name.into();
        if PolicyConfig::names().any(|known| known == name) || self.constructors.contains_key(&name)
        {
            return Err(PolicyError::Duplicate { name });
        }
        self.constructors.insert(name, Box::new(constructor));
        Ok(())
    }

    /// Takes over what another factory knows, and its seed. Where both know a name, the other's is used.
    pub(crate) fn absorb(&mut self, other: PolicyFactory) {
        self.constructors.extend(other.constructors);
        self.seed = other.seed.or(self.seed);
    }

    /// Builds any policy that this factory knows.
    pub fn build(&self, config: &PolicyConfig) -> Result<Arc<dyn RoutingPolicy>, ConfigError> {
        config.check()?;
        match config.build(self.seed) {
            Ok(policy) => Ok(policy),
            Err(custom) => Ok(self.custom(&custom.name, &custom.options)?),
        }
    }

    fn custom(&self, name: &str, options: &Value) -> Result<Arc<dyn RoutingPolicy>, PolicyError> {
        match self.constructors.get(name) {
            Some(constructor) => constructor(options),
            None => Err(PolicyError::Unknown { name: name.to_owned(), known: self.known() }),
        }
    }

    fn known(&self) -> String {
        let mut names: Vec<&str> = PolicyConfig::names().collect();
        names.extend(self.constructors.keys().map(String::as_str));
        names.join(", ")
    }
}

impl std::fmt::Debug for PolicyFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyFactory").field("known", &self.known()).finish()
    }
}
