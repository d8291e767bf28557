//! The built-in policies, and [`PolicyConfig`], which names one and says how it is set.
//!
//! A policy is one file, with what can be set in it, and a line at each place marked "Each policy".
//!
//! - [`random`]: uniform among the eligible, by weight.
//! - [`round_robin`]: each in turn, by weight, evenly spread.
//! - [`power_of_two`]: the less loaded of two random ones.
//! - [`cache_aware`]: the worker that already holds the prompt's prefix, unless another is better.

// Each policy: its file.
pub mod cache_aware;
pub mod power_of_two;
pub mod random;
pub mod round_robin;

use std::sync::Arc;
use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::MapAccess};
use serde_json::Value;

pub use self::cache_aware::{
    CacheAwareConfig, CacheAwareRule,
    least_work::config::{LeastWorkConfig, Speed},
    threshold::ThresholdConfig,
};
pub use self::power_of_two::PowerOfTwoConfig;
use self::power_of_two::PowerOfTwoPolicy;
use self::random::RandomPolicy;
use self::round_robin::RoundRobinPolicy;
use super::by_name::{self, ByName};
use super::error::ConfigError;
use super::routing_policy::RoutingPolicy;

/// Which policy, and how it is set.
///
/// As JSON: a name, for a policy with its defaults, or an object with the name as its one field and the
/// settings under it. `least_work` and `threshold` are names for `cache_aware` by that rule. As text:
/// the name alone.
///
/// ```
/// use pointsman::PolicyConfig;
/// let plain: PolicyConfig = serde_json::from_str(r#""power_of_two""#)?;
/// let set: PolicyConfig = serde_json::from_str(
///     r#"{"cache_aware": {"rule": {"threshold": {"cache_threshold": 0.5}}}}"#,
/// )?;
/// assert_eq!(PolicyConfig::default().name(), "cache_aware");
/// assert_eq!("power_of_two".parse(), Ok(plain));
/// # assert_eq!(set.to_string(), "cache_aware");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PolicyConfig {
    // Each policy.
    /// Each eligible worker with a chance proportional to its weight.
    Random,
    /// Each eligible worker in turn, by weight.
    RoundRobin,
    /// The less loaded of two random workers.
    PowerOfTwo(PowerOfTwoConfig),
    /// The worker that holds the prompt's prefix, unless another is better.
    CacheAware(CacheAwareConfig),
    /// A policy registered with the factory by the host.
    Custom(CustomConfig),
}

/// Makes a configuration with its defaults.
type Defaults = fn() -> PolicyConfig;

/// The names that custom policies cannot take, and what they stand for.
const NAMES: &[(&str, Defaults)] = &[
    // Each policy.
    ("random", || PolicyConfig::Random),
    ("round_robin", || PolicyConfig::RoundRobin),
    ("power_of_two", || PolicyConfig::PowerOfTwo(PowerOfTwoConfig::default())),
    ("cache_aware", || PolicyConfig::CacheAware(CacheAwareConfig::default())),
    // Names for a setting of a policy.
    ("least_work", || PolicyConfig::least_work(LeastWorkConfig::default())),
    ("threshold", || PolicyConfig::threshold(ThresholdConfig::default())),
];

impl PolicyConfig {
    /// The policy of this name with its defaults. A name that is not built in is a custom one.
    pub fn named(name: &str) -> Self {
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, config)) => config(),
            None => PolicyConfig::Custom(CustomConfig::new(name, Value::Null)),
        }
    }

    /// The policy's name.
    pub fn name(&self) -> &str {
        match self {
            // Each policy.
            PolicyConfig::Random => "random",
            PolicyConfig::RoundRobin => "round_robin",
            PolicyConfig::PowerOfTwo(_) => "power_of_two",
            PolicyConfig::CacheAware(_) => "cache_aware",
            PolicyConfig::Custom(custom) => &custom.name,
        }
    }

    /// Checks every number against its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            // Each policy.
            PolicyConfig::Random | PolicyConfig::RoundRobin | PolicyConfig::Custom(_) => Ok(()),
            PolicyConfig::PowerOfTwo(config) => config.check(),
            PolicyConfig::CacheAware(config) => config.check(),
        }
    }

    /// Builds the policy; a custom one is handed back.
    pub(super) fn build(&self, seed: Option<u64>) -> Result<Arc<dyn RoutingPolicy>, &CustomConfig> {
        Ok(match self {
            // Each policy.
            PolicyConfig::Random => Arc::new(RandomPolicy::new(seed)),
            PolicyConfig::RoundRobin => Arc::new(RoundRobinPolicy::new(seed)),
            PolicyConfig::PowerOfTwo(config) => Arc::new(PowerOfTwoPolicy::new(config, seed)),
            PolicyConfig::CacheAware(config) => config.build(seed),
            PolicyConfig::Custom(custom) => return Err(custom),
        })
    }

    /// The cache-aware policy by the `threshold` rule.
    pub fn threshold(config: ThresholdConfig) -> Self {
        PolicyConfig::CacheAware(CacheAwareConfig { rule: CacheAwareRule::Threshold(config) })
    }

    /// The cache-aware policy by the `least_work` rule.
    pub fn least_work(config: LeastWorkConfig) -> Self {
        PolicyConfig::CacheAware(CacheAwareConfig { rule: CacheAwareRule::LeastWork(config) })
    }
}

impl ByName for PolicyConfig {
    const EXPECTED: &'static str =
        "a policy's name, or an object with the policy's name as its only field";

    fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    fn by_name(name: &str) -> Option<Self> {
        Some(PolicyConfig::named(name))
    }

    fn with_settings<'de, M: MapAccess<'de>>(
        name: &str,
        map: &mut M,
    ) -> Result<Option<Self>, M::Error> {
        Ok(Some(match name {
            // Each policy.
            "random" => map.next_value::<NoOptions>().map(|_| PolicyConfig::Random)?,
            "round_robin" => map.next_value::<NoOptions>().map(|_| PolicyConfig::RoundRobin)?,
            "power_of_two" => PolicyConfig::PowerOfTwo(map.next_value()?),
            "cache_aware" => PolicyConfig::CacheAware(map.next_value()?),
            "least_work" => PolicyConfig::least_work(map.next_value()?),
            "threshold" => PolicyConfig::threshold(map.next_value()?),
            "custom" => PolicyConfig::Custom(map.next_value()?),
            _ => return Ok(None),
        }))
    }
}

/// Nothing to set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "{}, as the policy has no options")]
struct NoOptions {}

impl<'de> Deserialize<'de> for PolicyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        by_name::read(deserializer)
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        PolicyConfig::CacheAware(CacheAwareConfig::default())
    }
}

/// As [`PolicyConfig::named`].
impl FromStr for PolicyConfig {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(PolicyConfig::named(name))
    }
}

/// The policy's name, without its settings.
impl fmt::Display for PolicyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
