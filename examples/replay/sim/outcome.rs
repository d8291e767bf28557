//! What a run measures.

/// What became of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    /// Arrival, seconds.
    pub(crate) arrival: f64,
    /// Seconds to the first token; infinite when it never came.
    pub(crate) first_token: f64,
    /// Seconds to the last token.
    pub(crate) finished: f64,
    /// Prompt tokens that the worker's cache saved.
    pub(crate) cached: u32,
    /// Worker that computed the prompt.
    pub(crate) worker: usize,
}

/// The measures of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Cached share of all prompt tokens.
    pub(crate) hit_share: f64,
    /// Mean seconds to the first token.
    pub(crate) mean: f64,
    /// Its median.
    pub(crate) p50: f64,
    /// Its 90th percentile.
    pub(crate) p90: f64,
    /// Its 99th percentile.
    pub(crate) p99: f64,
    /// Median seconds to the last token.
    pub(crate) end_to_end_p50: f64,
    /// Prefill seconds of the busiest worker over the mean.
    pub(crate) imbalance: f64,
    /// Requests that got no answer.
    pub(crate) failed: usize,
}

/// A finished run.
pub(crate) struct Run {
    /// Per request, in the trace's order.
    pub(crate) served: Vec<Served>,
    /// Seconds of prefill per worker.
    pub(crate) busy: Vec<f64>,
    /// (seconds, requests waiting or in prefill) per worker, sampled.
    pub(crate) timeline: Vec<Vec<(f64, f64)>>,
}

impl Run {
    /// The measures, `input_tokens` being the trace's.
    pub(crate) fn summary(&self, input_tokens: u64) -> Summary {
        let done = || self.served.iter().filter(|served| served.first_token.is_finite());
        let mut first: Vec<f64> = done().map(|served| served.first_token).collect();
        let mut last: Vec<f64> = done().map(|served| served.finished).collect();
        first.sort_by(f64::total_cmp);
        last.sort_by(f64::total_cmp);
        let cached: u64 = self.served.iter().map(|served| u64::from(served.cached)).sum();
        let mean_busy = mean(&self.busy);
        let busiest = self.busy.iter().copied().fold(0.0, f64::max);
        Summary {
            hit_share: cached as f64 / input_tokens.max(1) as f64,
            mean: mean(&first),
            p50: quantile(&first, 0.50),
            p90: quantile(&first, 0.90),
            p99: quantile(&first, 0.99),
            end_to_end_p50: quantile(&last, 0.50),
            imbalance: if mean_busy > 0.0 { busiest / mean_busy } else { 1.0 },
            failed: self.served.len() - first.len(),
        }
    }
}

/// The arithmetic mean; 0 of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The `q` quantile of sorted values, nearest rank; 0 of nothing.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}
