//! What a load run measured.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::client::Answer;
use crate::http::{AnyError, with_causes};

/// Collects the outcomes of a run; shared by its users.
#[derive(Default)]
pub(crate) struct Tally {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    first_tokens: Vec<Duration>,
    prompt_tokens: u64,
    cached_tokens: u64,
    by_worker: BTreeMap<String, u64>,
    cut: u64,
    lost: u64,
    last_error: Option<String>,
}

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) answered: usize,
    pub(crate) requests_per_second: f64,
    pub(crate) mean: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Prompt tokens that engines had in their cache, 0 to 1.
    pub(crate) cached_share: f64,
    /// Requests of the worker with most of them, over the mean of those that served any.
    pub(crate) busiest_over_mean: f64,
    /// Answers that broke off after their first token; the user asked again.
    pub(crate) cut: u64,
    /// Requests that the gateway sent to a second worker, where that is known.
    pub(crate) retried: Option<u64>,
    /// Requests without an answer.
    pub(crate) lost: u64,
    pub(crate) last_error: Option<String>,
}

impl Tally {
    pub(super) fn answered(&self, answer: &Answer) {
        let mut state = self.lock();
        state.first_tokens.push(answer.first_token);
        state.prompt_tokens += answer.prompt_tokens;
        state.cached_tokens += answer.cached_tokens;
        if let Some(worker) = &answer.worker {
            *state.by_worker.entry(worker.clone()).or_default() += 1;
        }
    }

    pub(super) fn cut(&self) {
        self.lock().cut += 1;
    }

    pub(super) fn lost(&self, error: &AnyError) {
        let mut state = self.lock();
        state.lost += 1;
        state.last_error = Some(with_causes(&**error));
    }

    /// Requests answered so far.
    pub(crate) fn answers(&self) -> usize {
        self.lock().first_tokens.len()
    }

    pub(super) fn report(&self, elapsed: Duration) -> Report {
        let state = self.lock();
        let mut sorted = state.first_tokens.clone();
        sorted.sort_unstable();
        let total: Duration = sorted.iter().sum();
        let most = state.by_worker.values().max().copied().unwrap_or(0) as f64;
        let served: u64 = state.by_worker.values().sum();
        Report {
            answered: sorted.len(),
            requests_per_second: sorted.len() as f64 / elapsed.as_secs_f64().max(1e-9),
            mean: total / (sorted.len().max(1) as u32),
            p50: quantile(&sorted, 0.50),
            p99: quantile(&sorted, 0.99),
            cached_share: state.cached_tokens as f64 / state.prompt_tokens.max(1) as f64,
            busiest_over_mean: most * state.by_worker.len() as f64 / served.max(1) as f64,
            cut: state.cut,
            retried: None,
            lost: state.lost,
            last_error: state.last_error.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or_default()
}
