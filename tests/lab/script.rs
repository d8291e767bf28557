//! A list of choices made beforehand.

use super::baseline::{Baseline, RuleView};
use super::sim::rng::Rng;

/// Sends request `i` to `picks[i]`.
pub(crate) struct Script {
    pub(crate) picks: Vec<usize>,
}

impl Baseline for Script {
    fn choose(&mut self, view: &RuleView<'_>, _rng: &mut Rng) -> usize {
        self.picks.get(view.id).copied().unwrap_or(0)
    }
}
