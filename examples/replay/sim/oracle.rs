//! What a perfect cache would have saved: one cache that all workers share.

use super::lru::BlockCache;
use crate::trace::Trace;

/// Tokens that a shared cache serves, and the work that it leaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Oracle {
    /// Cached share of all prompt tokens.
    pub(crate) hit_share: f64,
    /// Prompt tokens left to prefill.
    pub(crate) left_tokens: u64,
}

/// Tokens of a prompt of `input` tokens that `blocks` leading blocks save: at least its last token
/// is computed.
pub(crate) fn saved(blocks: usize, block: u32, input: u32) -> u32 {
    (blocks as u64 * u64::from(block)).min(u64::from(input.saturating_sub(1))) as u32
}

/// One shared LRU cache of `capacity` blocks; `usize::MAX` for an infinite one. Requests are served
/// in an instant, in order of arrival, and leave prompt and output in the cache.
pub(crate) fn shared(trace: &Trace, capacity: usize) -> Oracle {
    let mut cache = BlockCache::new(capacity, trace.ids);
    let mut hits = 0u64;
    for (id, request) in trace.requests.iter().enumerate() {
        let leading = cache.leading(trace.input_blocks(id));
        hits += u64::from(saved(leading, trace.block, request.input));
        cache.touch(trace.all_blocks(id));
    }
    let total = trace.input_tokens();
    Oracle { hit_share: hits as f64 / total.max(1) as f64, left_tokens: total - hits }
}
