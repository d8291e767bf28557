//! Cache-aware: the worker that already holds the prompt's prefix, unless another is better.
//!
//! One policy, two rules:
//!
//! - [`least_work`], the default: per worker, the prompt tokens that this request would wait for and
//!   cause; the least wins.
//! - [`threshold`]: SGLang's rule. Longest match while loads are balanced, least loaded otherwise.
//! - `decode`: how both choose decode workers.
//! - `rendezvous`: where a request goes that has a routing key and no usable prefix.

mod decode;
pub mod least_work;
mod rendezvous;
pub mod threshold;

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de::MapAccess};

use self::least_work::{LeastWorkPolicy, config::LeastWorkConfig};
use self::threshold::{ThresholdConfig, ThresholdPolicy};
use crate::policy::by_name::{self, ByName};
use crate::policy::error::ConfigError;
use crate::policy::routing_policy::RoutingPolicy;

/// What can be set of the cache-aware policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "{\"rule\": \"least_work\"} or the like")]
#[non_exhaustive]
pub struct CacheAwareConfig {
    /// How a cached prefix is weighed against load.
    pub rule: CacheAwareRule,
}

impl CacheAwareConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match &self.rule {
            CacheAwareRule::LeastWork(config) => config.check(),
            CacheAwareRule::Threshold(config) => config.check(),
        }
    }

    pub(super) fn build(&self, seed: Option<u64>) -> Arc<dyn RoutingPolicy> {
        match &self.rule {
            CacheAwareRule::LeastWork(rule) => Arc::new(LeastWorkPolicy::new(rule.clone(), seed)),
            CacheAwareRule::Threshold(rule) => Arc::new(ThresholdPolicy::new(rule.clone(), seed)),
        }
    }
}

/// How the cache-aware policy weighs a cached prefix against load.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CacheAwareRule {
    /// Least work to wait for and to cause.
    LeastWork(LeastWorkConfig),
    /// Longest match while loads are balanced, least loaded otherwise.
    Threshold(ThresholdConfig),
}

impl Default for CacheAwareRule {
    fn default() -> Self {
        CacheAwareRule::LeastWork(LeastWorkConfig::default())
    }
}

impl ByName for CacheAwareRule {
    const EXPECTED: &'static str =
        "\"least_work\" or \"threshold\", or an object with one of these as its only field";

    fn names() -> impl Iterator<Item = &'static str> {
        ["least_work", "threshold"].into_iter()
    }

    fn by_name(name: &str) -> Option<Self> {
        match name {
            "least_work" => Some(CacheAwareRule::LeastWork(LeastWorkConfig::default())),
            "threshold" => Some(CacheAwareRule::Threshold(ThresholdConfig::default())),
            _ => None,
        }
    }

    fn with_settings<'de, M: MapAccess<'de>>(
        name: &str,
        map: &mut M,
    ) -> Result<Option<Self>, M::Error> {
        match name {
            "least_work" => map.next_value().map(CacheAwareRule::LeastWork).map(Some),
            "threshold" => map.next_value().map(CacheAwareRule::Threshold).map(Some),
            _ => Ok(None),
        }
    }
}

impl<'de> Deserialize<'de> for CacheAwareRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        by_name::read(deserializer)
    }
}
