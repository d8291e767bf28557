//! Policies as configuration: the one source of every default.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::RoutingPolicy;
use super::builtins::builtins;
use super::cache_aware::{
    least_work::{LeastWorkConfig, LeastWorkPolicy},
    threshold::{ThresholdConfig, ThresholdPolicy},
};
use super::power_of_two::PowerOfTwoPolicy;
use super::random::RandomPolicy;
use super::round_robin::RoundRobinPolicy;
use crate::policy::error::ConfigError;
use crate::range;

/// A policy by its configuration: one from the table, or one from outside.
pub(super) enum Built<'a> {
    In(Arc<dyn RoutingPolicy>),
    Out(&'a CustomConfig),
}

// The table of the built-in policies. A new policy is its file and a line here.
builtins! {
    /// Which policy, and how it is set.
    ///
    /// As JSON: a name, for a policy with its defaults, or an object with one field. `least_work` and
    /// `threshold` are names for `cache_aware` by that rule.
    ///
    /// ```
    /// use pointsman::PolicyConfig;
    /// let plain: PolicyConfig = serde_json::from_str(r#""power_of_two""#)?;
    /// let set: PolicyConfig = serde_json::from_str(
    ///     r#"{"cache_aware": {"rule": {"threshold": {"cache_threshold": 0.5}}}}"#,
    /// )?;
    /// assert_eq!(PolicyConfig::default().name(), "cache_aware");
    /// # assert_ne!(plain, set);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[derive(Clone, Debug, PartialEq, Serialize)]
    #[serde(rename_all = "snake_case")]
    #[non_exhaustive]
    pub enum PolicyConfig {
        /// Each eligible worker with a chance proportional to its weight.
        Random = "random" => |seed| Arc::new(RandomPolicy::new(seed)),
        /// Each eligible worker in turn, by weight.
        RoundRobin = "round_robin" => |seed| Arc::new(RoundRobinPolicy::new(seed)),
        /// The less loaded of two random workers.
        PowerOfTwo(config: PowerOfTwoConfig) = "power_of_two"
            => |seed| Arc::new(PowerOfTwoPolicy::new(config.max_report_age(), seed)),
        /// The worker that holds the prompt's prefix, unless another is better.
        CacheAware(config: CacheAwareConfig) = "cache_aware" => |seed| config.policy(seed),
    }
    aliases {
        "least_work" => PolicyConfig::least_work(LeastWorkConfig::default()),
        "threshold" => PolicyConfig::threshold(ThresholdConfig::default()),
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        PolicyConfig::CacheAware(CacheAwareConfig::default())
    }
}

impl PolicyConfig {
    /// The cache-aware policy by the `threshold` rule.
    pub fn threshold(config: ThresholdConfig) -> Self {
        PolicyConfig::CacheAware(CacheAwareConfig { rule: CacheAwareRule::Threshold(config) })
    }

    /// The cache-aware policy by the `least_work` rule.
    pub fn least_work(config: LeastWorkConfig) -> Self {
        PolicyConfig::CacheAware(CacheAwareConfig { rule: CacheAwareRule::LeastWork(config) })
    }
}

impl<'de> Deserialize<'de> for PolicyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        name_or_object::<Tagged, _, _>(
            deserializer,
            "a policy's name, or an object with the policy's name as its only field",
            |name| Some(PolicyConfig::named(name)),
        )
    }
}

/// Nothing to set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "{}, as the policy has no options")]
struct Empty {}

/// The power-of-two policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "an object of the policy's options")]
#[non_exhaustive]
pub struct PowerOfTwoConfig {
    /// Seconds after which a worker's load report counts as missing; 0 ignores reports. Raise it to
    /// twice the interval at which the host polls its workers.
    pub max_report_age_secs: f64,
}

impl Default for PowerOfTwoConfig {
    fn default() -> Self {
        PowerOfTwoConfig { max_report_age_secs: 2.0 }
    }
}

impl PowerOfTwoConfig {
    /// In nanoseconds.
    fn max_report_age(&self) -> u64 {
        (self.max_report_age_secs * 1e9) as u64
    }

    fn check(&self) -> Result<(), ConfigError> {
        range::check("power_of_two.max_report_age_secs", self.max_report_age_secs, 0.0, 3600.0)?;
        Ok(())
    }
}

/// The cache-aware policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "{\"rule\": \"least_work\"} or the like")]
#[non_exhaustive]
pub struct CacheAwareConfig {
    /// How a cached prefix is weighed against load.
    pub rule: CacheAwareRule,
}

impl CacheAwareConfig {
    fn check(&self) -> Result<(), ConfigError> {
        match &self.rule {
            CacheAwareRule::LeastWork(config) => config.check(),
            CacheAwareRule::Threshold(config) => config.check(),
        }
    }

    fn policy(&self, seed: Option<u64>) -> Arc<dyn RoutingPolicy> {
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

impl<'de> Deserialize<'de> for CacheAwareRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Tagged {
            LeastWork(LeastWorkConfig),
            Threshold(ThresholdConfig),
        }
        impl From<Tagged> for CacheAwareRule {
            fn from(tagged: Tagged) -> Self {
                match tagged {
                    Tagged::LeastWork(config) => CacheAwareRule::LeastWork(config),
                    Tagged::Threshold(config) => CacheAwareRule::Threshold(config),
                }
            }
        }
        name_or_object::<Tagged, _, _>(
            deserializer,
            "\"least_work\" or \"threshold\", or an object with one of these as its only field",
            |name| match name {
                "least_work" => Some(CacheAwareRule::LeastWork(LeastWorkConfig::default())),
                "threshold" => Some(CacheAwareRule::Threshold(ThresholdConfig::default())),
                _ => None,
            },
        )
    }
}

/// A policy from outside this crate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{\"name\": ..., \"options\": ...}")]
#[non_exhaustive]
pub struct CustomConfig {
    /// The name it was registered under.
    pub name: String,
    /// Handed to its constructor as it stands.
    #[serde(default)]
    pub options: Value,
}

impl CustomConfig {
    /// The policy registered under this name, with these options; `Value::Null` where it has none.
    pub fn new(name: impl Into<String>, options: Value) -> Self {
        CustomConfig { name: name.into(), options }
    }
}

/// Reads `"name"` or `{"name": {...}}`, keeping the position of errors inside the object.
fn name_or_object<'de, Tagged, T, D>(
    deserializer: D,
    expected: &'static str,
    by_name: fn(&str) -> Option<T>,
) -> Result<T, D::Error>
where
    Tagged: Deserialize<'de> + Into<T>,
    D: Deserializer<'de>,
{
    struct Visitor<Tagged, T> {
        expected: &'static str,
        by_name: fn(&str) -> Option<T>,
        tagged: std::marker::PhantomData<Tagged>,
    }
    impl<'de, Tagged: Deserialize<'de> + Into<T>, T> de::Visitor<'de> for Visitor<Tagged, T> {
        type Value = T;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.expected)
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<T, E> {
            (self.by_name)(name).ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            Tagged::deserialize(de::value::MapAccessDeserializer::new(map)).map(Into::into)
        }
    }
    deserializer.deserialize_any(Visitor::<Tagged, T> {
        expected,
        by_name,
        tagged: std::marker::PhantomData,
    })
}
