//! The module's metrics, among Envoy's own.
//!
//! They belong to the filter, which is there for a request from its beginning to its end, whatever
//! happens to the cluster meanwhile. Only picks without a filter are counted by the policy.

use pointsman::{Outcome, Reason, Usage};

use crate::abi::{self, Buffer, EnvoyPtr, metric};
use crate::envoy::Stream;

/// What became of a request's body.
#[derive(Clone, Copy)]
pub enum Body {
    /// It gave a fingerprint.
    Read = 0,
    /// There is none that a prompt is expected in: no POST, no body, or an upgrade to another protocol.
    None = 1,
    /// It is JSON without a prompt.
    NoPrompt = 2,
    /// It is not what it says it is.
    Malformed = 3,
    /// It is longer than `max_body_bytes`.
    TooLong = 4,
    /// Its content type is not JSON.
    OtherType = 5,
    /// It has a content encoding.
    Compressed = 6,
}

const BODIES: [&str; 7] =
    ["read", "none", "no_prompt", "malformed", "too_long", "other_type", "compressed"];

/// The ids of the filter's metrics.
pub struct Metrics {
    bodies: [usize; BODIES.len()],
    reasons: [usize; Reason::COUNT],
    outcomes: [usize; Outcome::NAMES.len()],
    prompt_tokens: usize,
    matched_tokens: usize,
    reported_prompt_tokens: usize,
    reported_cached_tokens: usize,
    retries: usize,
    refused: usize,
    untracked: usize,
    in_flight: usize,
    first_token_ms: usize,
}

type Define = unsafe extern "C" fn(EnvoyPtr, Buffer, *const Buffer, usize, *mut usize) -> u32;

impl Metrics {
    /// Defines the metrics.
    ///
    /// # Errors
    /// The name that Envoy refused.
    ///
    /// # Safety
    /// `config` came with the hook that makes a filter's configuration.
    pub unsafe fn define(config: EnvoyPtr) -> Result<Metrics, String> {
        let counter = abi::envoy_dynamic_module_callback_http_filter_config_define_counter;
        let gauge = abi::envoy_dynamic_module_callback_http_filter_config_define_gauge;
        let histogram = abi::envoy_dynamic_module_callback_http_filter_config_define_histogram;
        // SAFETY: by the caller.
        let define = |define: Define, name: &str| unsafe { one(config, define, name) };
        let mut metrics = Metrics {
            bodies: [0; _],
            reasons: [0; _],
            outcomes: [0; _],
            prompt_tokens: define(counter, "prompt_tokens")?,
            matched_tokens: define(counter, "matched_tokens")?,
            reported_prompt_tokens: define(counter, "reported_prompt_tokens")?,
            reported_cached_tokens: define(counter, "reported_cached_tokens")?,
            retries: define(counter, "retries")?,
            refused: define(counter, "refused")?,
            untracked: define(counter, "untracked")?,
            in_flight: define(gauge, "in_flight")?,
            first_token_ms: define(histogram, "first_token_ms")?,
        };
        for (id, name) in metrics.bodies.iter_mut().zip(BODIES) {
            *id = define(counter, &format!("body.{name}"))?;
        }
        for (id, reason) in metrics.reasons.iter_mut().zip(Reason::ALL) {
            *id = define(counter, &format!("reason.{}", reason.as_str()))?;
        }
        for (id, name) in metrics.outcomes.iter_mut().zip(Outcome::NAMES) {
            *id = define(counter, &format!("outcome.{name}"))?;
        }
        Ok(metrics)
    }

    /// A body was read, or not.
    pub fn body(&self, stream: Stream, body: Body) {
        stream.count(self.bodies[body as usize], 1);
    }

    /// A worker was named, and a ticket opened.
    pub fn selected(&self, stream: Stream, reason: Reason, matched: u32, total: u32) {
        if let Some(&id) = self.reasons.get(reason as usize) {
            stream.count(id, 1);
        }
        stream.count(self.prompt_tokens, total.into());
        stream.count(self.matched_tokens, matched.into());
        stream.step(self.in_flight, true);
    }

    /// A ticket was closed, and the engine had reported this.
    pub fn completed(&self, stream: Stream, outcome: Outcome, usage: Usage) {
        let reported = [
            (self.reported_prompt_tokens, usage.prompt_tokens),
            (self.reported_cached_tokens, usage.cached_tokens),
        ];
        for (id, tokens) in reported {
            stream.count(id, tokens.unwrap_or(0).into());
        }
        stream.count(self.outcomes[outcome.index()], 1);
        stream.step(self.in_flight, false);
    }

    /// A request is chosen for once more.
    pub fn retried(&self, stream: Stream) {
        stream.count(self.retries, 1);
    }

    /// All workers are full.
    pub fn refused(&self, stream: Stream) {
        stream.count(self.refused, 1);
    }

    /// A host was taken in turn, as the router named none: nobody follows the request there.
    pub fn untracked(&self, stream: Stream) {
        stream.count(self.untracked, 1);
    }

    /// The response's body began this long after the choice.
    pub fn first_token(&self, stream: Stream, nanoseconds: u64) {
        stream.record(self.first_token_ms, nanoseconds / 1_000_000);
    }
}

/// The policy's only metric: picks for requests that no filter of this module saw.
pub struct Unseen {
    config: EnvoyPtr,
    id: usize,
}

impl Unseen {
    /// Defines the metric.
    ///
    /// # Errors
    /// The name that Envoy refused.
    ///
    /// # Safety
    /// `config` came with the hook that makes a policy's configuration, and outlives the result.
    pub unsafe fn define(config: EnvoyPtr) -> Result<Unseen, String> {
        let define = abi::envoy_dynamic_module_callback_lb_config_define_counter;
        // SAFETY: by the caller.
        let id = unsafe { one(config, define, "unseen")? };
        Ok(Unseen { config, id })
    }

    /// Counts one.
    pub fn count(&self) {
        // SAFETY: the configuration lives (`define`).
        unsafe {
            abi::envoy_dynamic_module_callback_lb_config_increment_counter(
                self.config,
                self.id,
                std::ptr::null(),
                0,
                1,
            );
        }
    }
}

/// # Safety
/// `config` is of the kind that `define` takes.
unsafe fn one(config: EnvoyPtr, define: Define, name: &str) -> Result<usize, String> {
    let (full, mut id) = (format!("pointsman.{name}"), 0);
    // SAFETY: by the caller; Envoy copies the name.
    let result =
        unsafe { define(config, Buffer::of(full.as_bytes()), std::ptr::null(), 0, &mut id) };
    if result == metric::SUCCESS { Ok(id) } else { Err(format!("Envoy refused the metric {full}")) }
}
