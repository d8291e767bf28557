//! A recorded list of choices: to replay another simulator's run.

use super::{Baseline, View};
use crate::sim::rng::Rng;

/// Sends request `i` to `picks[i]`.
pub(crate) struct Script {
    pub(crate) picks: Vec<usize>,
}

impl Baseline for Script {
    fn choose(&mut self, view: &View<'_>, _rng: &mut Rng) -> usize {
        self.picks.get(view.id).copied().unwrap_or(0)
    }
}
