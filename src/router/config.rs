//! A router as configuration: the same schema in Rust, JSON and C.

use serde::{Deserialize, Serialize};

use crate::body::BodyConfig;
use crate::policy::PolicyConfig;
use crate::policy::error::ConfigError;
use crate::pool::MAX_WORKERS;
use crate::prefix::{BlockSize, HashKey};
use crate::range;
use crate::ticket::MAX_TICKETS;
use crate::worker::health::HealthConfig;

const SECOND: f64 = 1e9;

/// The settings of a router. Every field has a default, so `{}` is a whole document.
///
/// ```
/// use pointsman::RouterConfig;
/// let config = RouterConfig::from_json(r#"{"policy": "round_robin", "max_workers": 64}"#)?;
/// assert_eq!(config.max_tickets, 65_536);
/// let error = RouterConfig::from_json(r#"{"polcy": "random"}"#).unwrap_err();
/// assert!(error.to_string().contains("unknown field `polcy`, expected one of `policy`"));
/// # Ok::<(), pointsman::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RouterConfig {
    /// The policy for regular requests, and for pairs unless the next two say otherwise.
    pub policy: PolicyConfig,
    /// The policy that chooses the prefill worker of a pair.
    pub prefill_policy: Option<PolicyConfig>,
    /// The policy that chooses the decode worker of a pair.
    pub decode_policy: Option<PolicyConfig>,
    /// Sends a share of the requests to a second policy, to compare the two.
    pub split: Option<SplitConfig>,
    /// A policy that decides beside the real one and is not followed, to see how they differ.
    pub shadow: Option<PolicyConfig>,
    /// The prefix tree.
    pub tree: TreeConfig,
    /// How JSON request bodies are read.
    pub body: BodyConfig,
    /// Passive health checking.
    pub health: HealthConfig,
    /// Workers that may be registered at once, at most 1,024.
    pub max_workers: usize,
    /// Requests that can be tracked at once, at most 1,048,576; rounded up to a multiple of 64.
    /// Requests beyond are spread at random over the workers without a limit of in-flight requests, and
    /// refused as [`AllBusy`](crate::RoutingError::AllBusy) where all have one: see [`Ticket`](crate::Ticket).
    pub max_tickets: usize,
    /// Seconds after which an open ticket is closed as expired, unless renewed.
    pub ticket_deadline_secs: f64,
    /// Seconds over which the weight of a new or recovered worker rises to its full value.
    pub slow_start_secs: f64,
    /// Makes every random draw repeatable as long as one thread calls. For tests and simulations.
    pub seed: Option<u64>,
}

impl Default for RouterConfig {
    fn default() -> Self {
        RouterConfig {
            policy: PolicyConfig::default(),
            prefill_policy: None,
            decode_policy: None,
            split: None,
            shadow: None,
            tree: TreeConfig::default(),
            body: BodyConfig::default(),
            health: HealthConfig::default(),
            max_workers: MAX_WORKERS,
            max_tickets: 65_536,
            ticket_deadline_secs: 3600.0,
            slow_start_secs: 0.0,
            seed: None,
        }
    }
}

impl RouterConfig {
    /// Reads a JSON document. Unknown fields are refused, with the known ones listed; errors name
    /// line and column.
    pub fn from_json(document: &str) -> Result<Self, ConfigError> {
        let refused = |error: serde_json::Error| ConfigError::Document(error.to_string());
        // serde reads a struct from an array of its fields, too, whose order is no part of the format.
        serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(document).map_err(refused)?;
        let config: RouterConfig = serde_json::from_str(document).map_err(refused)?;
        config.check()?;
        Ok(config)
    }

    /// Checks every number against its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(split) = &self.split {
            split.check()?;
        }
        let policies = [
            Some(&self.policy),
            self.prefill_policy.as_ref(),
            self.decode_policy.as_ref(),
            self.shadow.as_ref(),
        ];
        policies.into_iter().flatten().try_for_each(PolicyConfig::check)?;
        self.tree.check()?;
        self.health.check()?;
        self.body.check()?;
        range::check("max_workers", self.max_workers as f64, 1.0, MAX_WORKERS as f64)?;
        range::check("max_tickets", self.max_tickets as f64, 1.0, MAX_TICKETS as f64)?;
        range::check("ticket_deadline_secs", self.ticket_deadline_secs, 0.001, 604_800.0)?;
        range::check("slow_start_secs", self.slow_start_secs, 0.0, 86_400.0)?;
        Ok(())
    }

    /// In nanoseconds.
    pub(super) fn ticket_deadline(&self) -> u64 {
        (self.ticket_deadline_secs * SECOND) as u64
    }

    /// In nanoseconds.
    pub(super) fn slow_start(&self) -> u64 {
        (self.slow_start_secs * SECOND) as u64
    }
}

/// A second policy for a share of the requests. Requests with a routing key go to the same policy as
/// long as the share stands; others are drawn at random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "{\"policy\": ..., \"share\": ...}")]
#[non_exhaustive]
pub struct SplitConfig {
    /// The second policy.
    pub policy: PolicyConfig,
    /// Its share of the requests, 0 to 1.
    pub share: f64,
}

impl SplitConfig {
    /// This share of the requests, 0 to 1, goes to this policy.
    pub fn new(policy: PolicyConfig, share: f64) -> Self {
        SplitConfig { policy, share }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.policy.check()?;
        range::check("split.share", self.share, 0.0, 1.0)?;
        Ok(())
    }
}

/// The prefix tree: what the router remembers of prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TreeConfig {
    /// Bytes that the tree may hold in total; never exceeded. Taken from the system as the tree
    /// fills.
    ///
    /// A long prompt takes up to 24 bytes for each of its blocks, so the longest one, 4 MiB of text or
    /// 1,048,576 tokens, 768 KiB with blocks of 128 bytes, twice as much with 64, half with 256.
    /// Eight blocks are kept together, and fewer take as much as eight. A beginning that several prompts
    /// have in common counts once, as long as at most seven workers hold it.
    pub budget_bytes: usize,
    /// Bytes of prompt text to a block, a multiple of 16 from 64 to 256; a token counts 4 bytes.
    pub block_bytes: u16,
    /// The hash key as 64 hexadecimal digits. Routers that share fingerprints or must agree with
    /// each other need the same key; otherwise leave it out, and each router draws its own.
    pub hash_key: Option<String>,
}

impl Default for TreeConfig {
    fn default() -> Self {
        TreeConfig { budget_bytes: 64 << 20, block_bytes: 128, hash_key: None }
    }
}

impl TreeConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let (min, max) = (64.0 * 1024.0, (1u64 << 40) as f64);
        range::check("tree.budget_bytes", self.budget_bytes as f64, min, max)?;
        range::check("tree.block_bytes", f64::from(self.block_bytes), 64.0, 256.0)?;
        self.block()?;
        self.key_bytes().map(|_| ())
    }

    /// The block size.
    pub(crate) fn block(&self) -> Result<BlockSize, ConfigError> {
        let value = self.block_bytes;
        BlockSize::new(value.into()).map_err(|_| {
            ConfigError::Document(format!("tree.block_bytes = {value} must be a multiple of 16"))
        })
    }

    /// The hash key, drawn anew where none is set.
    pub(crate) fn key(&self) -> Result<HashKey, ConfigError> {
        Ok(self.key_bytes()?.map_or_else(HashKey::random, HashKey::from_bytes))
    }

    /// The key's 32 bytes, if one is set.
    fn key_bytes(&self) -> Result<Option<[u8; 32]>, ConfigError> {
        let Some(digits) = &self.hash_key else { return Ok(None) };
        let bad =
            || ConfigError::Document("tree.hash_key must be 64 hexadecimal digits".to_owned());
        let digits = digits.as_bytes();
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let text = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(text, 16).map_err(|_| bad())?;
        }
        Ok(Some(key))
    }
}
