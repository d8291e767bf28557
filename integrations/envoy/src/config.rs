//! Configuration: what Envoy hands over as JSON, checked before anything runs.
//!
//! Prompts are read by the filter before it is known which cluster they go to. So what shapes a
//! fingerprint (hash key, block size, how bodies are read) is one for the whole process: the first
//! load-balancing policy that is configured settles it, a later one that differs is refused.

use std::sync::OnceLock;

use pointsman::{BodyConfig, Router, RouterConfig};
use serde::Deserialize;
use serde_json::{Number, Value};

/// The name that both the policy (`lb_policy_name`) and the filter (`filter_name`) go by.
pub const NAME: &str = "pointsman";

/// `lb_policy_config`: one cluster's router.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BalancerConfig {
    /// The router, in the library's own schema.
    pub router: RouterConfig,
    /// Tokens in a worker's KV cache, unless the endpoint's metadata says otherwise.
    pub kv_capacity_tokens: Option<u64>,
    /// Requests that a worker may hold at once, unless the endpoint's metadata says otherwise.
    pub max_in_flight: Option<u32>,
    /// Chooses pairs: the request goes to the decode worker, and this header names its prefill worker.
    pub prefill_header: Option<String>,
}

impl BalancerConfig {
    /// Reads and checks the policy's configuration.
    ///
    /// # Errors
    /// One line that names the field.
    pub fn read(name: &[u8], json: &[u8]) -> Result<BalancerConfig, String> {
        check_name("lb_policy_name", name)?;
        let mut config: BalancerConfig = parse(json)?;
        config.router.check().map_err(|error| format!("router: {error}"))?;
        if config.max_in_flight == Some(0) {
            return Err("max_in_flight = 0 is out of range: it must be at least 1".to_owned());
        }
        if let Some(header) = &config.prefill_header {
            check_header("prefill_header", header)?;
        }
        let shape = Shape::settle(&config.router)?;
        config.router.tree.hash_key = Some(shape.hash_key.clone());
        Ok(config)
    }
}

/// `filter_config`: one HTTP filter.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterConfig {
    /// Longest request body that is held back to be read. A longer one passes at once, and is routed by
    /// load only.
    pub max_body_bytes: u64,
    /// Whether responses name the worker that served them, and why.
    pub response_headers: bool,
    /// The request header whose value is the routing key (a session, for example).
    pub routing_key_header: Option<String>,
    /// Whether the engines' token counts are read from the end of responses.
    pub read_usage: bool,
}

impl Default for FilterConfig {
    fn default() -> Self {
        FilterConfig {
            max_body_bytes: 16 << 20,
            response_headers: false,
            routing_key_header: None,
            read_usage: true,
        }
    }
}

impl FilterConfig {
    /// Reads and checks the filter's configuration.
    ///
    /// # Errors
    /// One line that names the field.
    pub fn read(name: &[u8], json: &[u8]) -> Result<FilterConfig, String> {
        check_name("filter_name", name)?;
        let config: FilterConfig = parse(json)?;
        if !(1..=1 << 30).contains(&config.max_body_bytes) {
            return Err(format!(
                "max_body_bytes = {} is out of range: it must be between 1 and {}",
                config.max_body_bytes,
                1 << 30
            ));
        }
        if let Some(header) = &config.routing_key_header {
            check_header("routing_key_header", header)?;
        }
        Ok(config)
    }
}

fn parse<T: Default + for<'a> Deserialize<'a>>(json: &[u8]) -> Result<T, String> {
    if json.is_empty() {
        return Ok(T::default());
    }
    let read = serde_json::from_slice(json).and_then(|mut value| {
        mend_numbers(&mut value);
        serde_json::from_value(value)
    });
    read.map_err(|error| error.to_string())
}

/// Turns strings that spell numbers into the numbers that they were: Envoy makes strings of fractions, and of
/// whole numbers above 32 bits, when it reads YAML into a `Struct`. No setting is a text that spells a number.
fn mend_numbers(value: &mut Value) {
    match value {
        Value::String(text) if text.len() < 32 => {
            let whole = text.parse::<u64>().ok().map(Number::from);
            if let Some(number) = whole.or_else(|| Number::from_f64(text.parse().ok()?)) {
                *value = Value::Number(number);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mend_numbers),
        Value::Object(fields) => fields.values_mut().for_each(mend_numbers),
        _ => {}
    }
}

fn check_name(field: &str, name: &[u8]) -> Result<(), String> {
    if name == NAME.as_bytes() {
        return Ok(());
    }
    let name = String::from_utf8_lossy(name);
    Err(format!("{field} = {name:?} is unknown: it must be {NAME:?}"))
}

fn check_header(field: &str, name: &str) -> Result<(), String> {
    let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.bytes().all(sound) {
        return Ok(());
    }
    Err(format!("{field} = {name:?} is no header name: use lower-case letters, digits and '-'"))
}

/// What shapes fingerprints, for the whole process.
struct Shape {
    block_bytes: u16,
    body: BodyConfig,
    hash_key: String,
    /// A router without workers that reads bodies in this shape.
    reader: Router,
}

static SHAPE: OnceLock<Shape> = OnceLock::new();

impl Shape {
    /// Settles the shape by this configuration, or checks that it agrees with the settled one.
    fn settle(config: &RouterConfig) -> Result<&'static Shape, String> {
        if SHAPE.get().is_none() {
            // Where another thread was faster, the check below is against its shape.
            let _ = SHAPE.set(Shape::new(config)?);
        }
        let shape = SHAPE.get().ok_or("no shape was settled")?;
        let differs = |field| {
            Err(format!(
                "router.{field} must be the same in all clusters of one Envoy that use pointsman"
            ))
        };
        if config.tree.block_bytes != shape.block_bytes {
            return differs("tree.block_bytes");
        }
        if config.tree.hash_key.as_ref().is_some_and(|key| *key != shape.hash_key) {
            return differs("tree.hash_key");
        }
        if config.body != shape.body {
            return differs("body");
        }
        Ok(shape)
    }

    fn new(config: &RouterConfig) -> Result<Shape, String> {
        let hash_key = match &config.tree.hash_key {
            Some(key) => key.clone(),
            None => random_key()?,
        };
        let mut small = RouterConfig::default();
        small.tree.block_bytes = config.tree.block_bytes;
        small.tree.hash_key = Some(hash_key.clone());
        small.tree.budget_bytes = 64 << 10;
        small.body = config.body;
        (small.max_workers, small.max_tickets) = (1, 1);
        let reader = Router::new(small).map_err(|error| format!("router: {error}"))?;
        let (block_bytes, body) = (config.tree.block_bytes, config.body);
        Ok(Shape { block_bytes, body, hash_key, reader })
    }
}

fn random_key() -> Result<String, String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("router.tree.hash_key: no random key to be had: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The router that reads bodies; `None` while no load-balancing policy is configured.
pub fn reader() -> Option<&'static Router> {
    SHAPE.get().map(|shape| &shape.reader)
}
