//! Weighted round-robin as a precomputed cycle.
//!
//! Within one cycle each slot occurs exactly its weight, at evenly spaced positions: the k
//! occurrences of a slot in a cycle of length T belong at (2i + 1) T / 2k, and sorting by that ideal
//! position keeps every slot within one place of a perfectly smooth spread for most weights. A pick
//! is then one array load, whatever the number of workers.

/// Longest cycle for weights that are small multiples of each other; others are rounded to fit.
const MAX_CYCLE: u64 = 8192;
/// Denominators tried before weights are rounded.
const MAX_DENOMINATOR: u64 = 16;

/// The cycle for these weights; `None` if all are equal, where the slots themselves are the cycle.
/// Weights must be positive and finite. O(T log T) for a cycle of T.
pub(crate) fn cycle(weighted: &[(u16, f64)]) -> Option<Vec<u16>> {
    let first = weighted.first()?.1;
    if weighted.iter().all(|&(_, weight)| weight == first) {
        return None;
    }
    let counts = quantise(weighted);
    let total: u64 = counts.iter().sum();
    let mut places = Vec::with_capacity(total as usize);
    for (&(slot, _), &count) in weighted.iter().zip(&counts) {
        for i in 0..count {
            places.push(((((2 * i + 1) * total) << 20) / (2 * count), slot));
        }
    }
    places.sort_unstable();
    Some(places.into_iter().map(|(_, slot)| slot).collect())
}

/// Whole numbers in the proportion of the weights: exact where a denominator of at most 16 makes
/// them whole and the cycle stays short, else rounded to a cycle of [`MAX_CYCLE`], at least 1 each.
pub(crate) fn quantise(weighted: &[(u16, f64)]) -> Vec<u64> {
    let smallest = weighted.iter().map(|&(_, weight)| weight).fold(f64::INFINITY, f64::min);
    (1..=MAX_DENOMINATOR)
        .find_map(|denominator| exact(weighted, denominator as f64 / smallest))
        .unwrap_or_else(|| {
            let total: f64 = weighted.iter().map(|&(_, weight)| weight).sum();
            let scale = MAX_CYCLE as f64 / total;
            weighted.iter().map(|&(_, weight)| ((weight * scale).round() as u64).max(1)).collect()
        })
}

/// The weights times `scale` if all of that is whole and the sum short enough.
fn exact(weighted: &[(u16, f64)], scale: f64) -> Option<Vec<u64>> {
    let mut total: u64 = 0;
    weighted
        .iter()
        .map(|&(_, weight)| {
            let scaled = weight * scale;
            let whole = scaled.round();
            total = total.saturating_add(whole as u64);
            ((scaled - whole).abs() < 1e-6 * scaled && total <= MAX_CYCLE).then_some(whole as u64)
        })
        .collect()
}
