//! Rendezvous hashing: where a request goes that has a routing key and no usable prefix.
//!
//! D. Thaler and C. Ravishankar, "Using name-based mappings to increase hit rates", 1998: every
//! worker ranks by a hash of the key and itself, and the highest wins. When a worker leaves, only its
//! own keys move.

use crate::pool::candidate::Candidate;
use crate::pool::candidates::Candidates;
use crate::random::mix;

/// A key's worker is passed over while its load per weight exceeds this multiple of the mean.
pub(super) const MAX_RELATIVE_LOAD: f64 = 1.25;

/// The candidate that ranks highest for the key. Routers with the same hash key agree. O(candidates).
pub(super) fn highest<'a>(candidates: &Candidates<'a>, key: u64) -> Option<Candidate<'a>> {
    candidates.iter().max_by_key(|candidate| mix(candidate.url_digest() ^ mix(key)))
}

/// The key's worker, unless its load per weight is more than 1.25 times the mean. O(candidates).
pub(super) fn unless_loaded<'a>(candidates: &Candidates<'a>, key: u64) -> Option<Candidate<'a>> {
    let chosen = highest(candidates, key)?;
    let (mut sum, mut count) = (0.0, 0u32);
    for candidate in candidates {
        sum += candidate.load_per_weight();
        count += 1;
    }
    let mean = sum / f64::from(count);
    (chosen.load_per_weight() <= MAX_RELATIVE_LOAD * mean).then_some(chosen)
}
