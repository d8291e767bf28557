//! Weighted draws of one worker or of two.
//!
//! The range of 64-bit numbers is cut into one part per worker, as wide as its share of the weights. A
//! uniform number falls into a worker's part with the chance that is its due. A guide, with the first part
//! of each of as many equal sections as there are workers, leaves one step of search on average, whatever
//! the weights (H.-C. Chen and Y. Asau, "On generating random variates from an empirical distribution",
//! 1974).
//!
//! **Two.** The second number is the first one, moved on around the range by a uniform distance. Both are
//! uniform then, and either may come first, so each worker is in a pair as often as its weight says, as it
//! would be in two independent draws. But a distance that is never less than the widest part, nor more than
//! the rest of the range, draws two different workers; only a worker that has more than half of all weight
//! can be drawn twice.

use crate::random;

/// Parts of the range, by worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chances {
    parts: Vec<Part>,
    /// Of each section, the first part that reaches into it or beyond.
    guide: Vec<u16>,
    /// The widest part; at most half of the range.
    widest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    /// The last number in it.
    end: u64,
    slot: u16,
}

impl Chances {
    /// Cuts the range by these weights, which must be positive and finite. O(n).
    pub(crate) fn new(weighted: &[(u16, f64)]) -> Self {
        let total: f64 = weighted.iter().map(|&(_, weight)| weight).sum();
        let mut sum = 0.0;
        let mut parts: Vec<Part> = weighted
            .iter()
            .map(|&(slot, weight)| {
                sum += weight;
                Part { end: whole(sum / total), slot }
            })
            .collect();
        if let Some(last) = parts.last_mut() {
            last.end = u64::MAX;
        }
        let mut first = 0;
        let guide = (0..parts.len())
            .map(|section| {
                let begin = ((section as u128) << 64).div_ceil(parts.len() as u128) as u64;
                first += parts[first..].iter().take_while(|part| part.end < begin).count();
                first as u16
            })
            .collect();
        let widest = weighted.iter().map(|&(_, weight)| weight).fold(0.0, f64::max);
        Chances { parts, guide, widest: whole(widest / total).min(1 << 63) }
    }

    /// The slot that the uniform number stands for; `None` if there is no worker.
    // Out of line: in most pools all weights are equal.
    #[inline(never)]
    pub(crate) fn one(&self, uniform: u64) -> Option<u16> {
        let section = random::scale(uniform, self.guide.len());
        let first = usize::from(*self.guide.get(section)?);
        self.parts.get(first..)?.iter().find(|part| part.end >= uniform).map(|part| part.slot)
    }

    /// The slots that two uniform numbers stand for: two different ones, but where one worker has more than
    /// half of all weight. `None` if there is no worker.
    #[inline(never)]
    pub(crate) fn two(&self, place: u64, distance: u64) -> Option<(u16, u16)> {
        // Wraps to 0 where the widest part is half of the range, and there is one distance only.
        let room = self.widest.wrapping_mul(2).wrapping_neg();
        let distance = self.widest + ((u128::from(distance) * u128::from(room)) >> 64) as u64;
        Some((self.one(place)?, self.one(place.wrapping_add(distance))?))
    }
}

/// This share of the range of 64-bit numbers.
fn whole(share: f64) -> u64 {
    // Saturates.
    (share * 2f64.powi(64)) as u64
}
