//! The measures as JSON.

use serde_json::{Value, json};

use crate::grid::Measured;

/// An array with one object per policy and scenario; times in seconds, shares of one.
pub(crate) fn render(trace: &str, measured: &[Measured]) -> Value {
    measured.iter().map(|run| object(trace, run)).collect()
}

fn object(trace: &str, run: &Measured) -> Value {
    let (scenario, summary) = (&run.cell.scenario, &run.summary);
    json!({
        "trace": trace,
        "policy": run.cell.policy.name(),
        "workers": scenario.workers,
        "cache_share": scenario.cache_share,
        "load": scenario.load,
        "arrivals": scenario.process.name(),
        "shape": scenario.shape.name(),
        "replicas": scenario.replicas,
        "signal_delay_s": scenario.signal_delay,
        "signal_loss": scenario.signal_loss,
        "oracle_hit_share": run.oracle,
        "infinite_oracle_hit_share": run.infinite,
        "hit_share": summary.hit_share,
        "ttft_mean_s": summary.mean,
        "ttft_mean_least_s": run.spread.0,
        "ttft_mean_greatest_s": run.spread.1,
        "ttft_p50_s": summary.p50,
        "ttft_p90_s": summary.p90,
        "ttft_p99_s": summary.p99,
        "end_to_end_p50_s": summary.end_to_end_p50,
        "imbalance": summary.imbalance,
        "failed": summary.failed,
    })
}
