//! Weighted draws in constant time: the alias method.
//!
//! A. J. Walker, "An efficient method for generating discrete random variables with general
//! distributions", 1977; built by M. D. Vose's linear-time algorithm, 1991. Every column of the
//! table has the average weight and holds at most two slots.

use crate::random;

/// One column: `own` below the threshold, `other` above.
#[derive(Clone, Copy, Debug)]
struct Column {
    threshold: u32,
    own: u16,
    other: u16,
}

/// A table of slots from which weighted draws cost one random number and one load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alias {
    columns: Vec<Column>,
}

impl Alias {
    /// Builds the table. Weights must be positive and finite. O(n).
    pub(crate) fn new(weighted: &[(u16, f64)]) -> Self {
        let total: f64 = weighted.iter().map(|&(_, weight)| weight).sum();
        let mean = total / weighted.len().max(1) as f64;
        let mut share: Vec<f64> = weighted.iter().map(|&(_, weight)| weight / mean).collect();
        let mut columns: Vec<Column> = weighted
            .iter()
            .map(|&(slot, _)| Column { threshold: u32::MAX, own: slot, other: slot })
            .collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..share.len()).partition(|&i| share[i] < 1.0);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            columns[poor].threshold = (share[poor] * 2f64.powi(32)) as u32;
            columns[poor].other = columns[rich].own;
            share[rich] -= 1.0 - share[poor];
            if share[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Alias { columns }
    }

    /// The slot that the uniform number stands for; `None` if the table is empty.
    #[inline]
    pub(crate) fn draw(&self, uniform: u64) -> Option<u16> {
        // High bits choose the column, low bits the side: independent for a uniform number.
        let column = self.columns.get(random::scale(uniform, self.columns.len()))?;
        let side = uniform as u32;
        Some(if side <= column.threshold { column.own } else { column.other })
    }
}
