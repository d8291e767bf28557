//! The gateway's own balancing beside pointsman's, under the same load.

use std::sync::Arc;
use std::time::Duration;

use crate::bench::Bench;
use crate::engine::EngineConfig;
use crate::gateway::Gateway;
use crate::http::AnyError;
use crate::load::{self, LoadConfig, Report, Tally};
use crate::table::markdown;

const WORKERS: usize = 8;

/// Runs the chat load once for each way to balance, from empty caches, and returns the table.
pub(crate) async fn run(
    gateway: &'static dyn Gateway,
    seconds: f64,
    keep: bool,
) -> Result<String, AnyError> {
    let load = LoadConfig { length: Duration::from_secs_f64(seconds), ..LoadConfig::default() };
    let mut lines = Vec::new();
    for row in gateway.rows() {
        let engine = EngineConfig::default();
        let set_up = row.gateway.unwrap_or(gateway);
        let bench = Bench::start(set_up, row.balance, &engine, WORKERS, keep).await?;
        let report = load::run(load.clone(), &bench.url(), Arc::<Tally>::default()).await;
        bench.stop().await;
        lines.push(cells(row.name, &report));
    }
    let name = gateway.name();
    let head = [name, "cached", "TTFT mean, ms", "p50", "p99", "requests", "lost"];
    Ok(markdown(head.map(str::to_owned), lines.into_iter()))
}

fn cells(name: &str, report: &Report) -> [String; 7] {
    let millis = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1_000.0);
    [
        name.to_owned(),
        format!("{:.1}%", report.cached_share * 100.0),
        millis(report.mean),
        millis(report.p50),
        millis(report.p99),
        report.answered.to_string(),
        report.lost.to_string(),
    ]
}
