//! A request as a policy sees it.

use super::prefix_query::PrefixQuery;
use crate::request::Request;
use crate::time::Time;

/// What a policy can read of a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestView<'a> {
    /// The host's request.
    pub request: &'a Request<'a>,
    /// Monotonic nanoseconds.
    pub now: Time,
    /// Length of the prompt in tokens, estimated where only bytes are known; 0 if unknown.
    pub prompt_tokens: u32,
    /// Length that the answer is expected to have, in tokens.
    pub output_tokens: u32,
    /// The request's routing key as a keyed digest.
    pub routing_key: Option<u64>,
    /// The prompt's fingerprint and the router's prefix tree, for policies that want them.
    pub prefix: Option<&'a PrefixQuery<'a>>,
}
