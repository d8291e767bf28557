//! What of a worker's token counts can be believed.

use crate::policy::Usage;
use crate::ticket::Charge;

/// Tokens at a prompt's end that a pair's decode worker may not count as cached though it was given them:
/// the last one, and up to a page of KV cache.
const TRANSFERRED: u32 = 64;
/// Most tokens to a byte of text, and tokens that an engine's template may add to any prompt.
const TOKENS_PER_BYTE: u64 = 2;
const TEMPLATE: u64 = 1024;

/// The usage without what says nothing about the worker that computed the prompt; `None` where it
/// contradicts itself, or what is known of the prompt.
pub(super) fn believed(charge: &Charge, usage: &Usage) -> Option<Usage> {
    if contradicts(charge, usage) {
        return None;
    }
    let mut usage = *usage;
    if charge.participants.prefill().is_some() {
        // A decode worker holds the prompt because the prefill worker has sent it: what it calls cached
        // would teach that the prefill worker had held it before.
        let prompt = usage.prompt_tokens.unwrap_or(charge.prompt_tokens);
        let is_whole = |cached| cached >= prompt.saturating_sub(TRANSFERRED);
        usage.cached_tokens =
            usage.cached_tokens.filter(|&cached| !charge.cached_known && !is_whole(cached));
    }
    Some(usage)
}

/// Whether more is said to be cached than the prompt has, as reported or as far as it is known.
pub(super) fn contradicts(charge: &Charge, usage: &Usage) -> bool {
    let cached = usage.cached_tokens.unwrap_or(0);
    usage.is_contradictory() || u64::from(cached) > longest(charge)
}

/// Most tokens that the prompt can have.
fn longest(charge: &Charge) -> u64 {
    let tokens = match (charge.prompt_bytes, charge.prompt_tokens) {
        (0, 0) => return u64::MAX,
        (0, tokens) if charge.matched_tokens > 0 => tokens.into(),
        // Counted without being read, at some estimate.
        (0, tokens) => u64::from(tokens) * 16,
        (bytes, _) => u64::from(bytes) * TOKENS_PER_BYTE,
    };
    tokens + TEMPLATE
}
