//! The host's part of health and load: asks every worker in turn whether it lives and how busy it is.
//!
//! A worker that does not answer `/health` is marked down; one that answers again is left to the
//! library's own judgement. One whose process has started anew has lost its cache, so it is registered
//! anew and the router forgets what it believed to be there. Load comes from `/metrics` in vLLM's names.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;
use pointsman::{LoadReport, WorkerId, WorkerSpec, WorkerStatus};
use tokio::time::MissedTickBehavior;

use super::Shared;
use crate::http::{AnyError, call};

/// What the last probe of a worker saw.
#[derive(Clone, Copy, Default)]
struct Seen {
    down: bool,
    /// Start of the worker's process, where it says so.
    started: Option<f64>,
}

/// Probes all workers every `interval`, until dropped.
pub(crate) async fn run(shared: Arc<Shared>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // By URL, because a worker that is registered anew has a new id.
    let mut seen: HashMap<String, Seen> = HashMap::new();
    loop {
        ticks.tick().await;
        let workers = shared.router.workers();
        let probes = workers.iter().map(|worker| {
            let before = seen.get(&worker.info.url).copied().unwrap_or_default();
            probe(&shared, worker, before, interval)
        });
        let now = join_all(probes).await;
        seen = workers.iter().map(|worker| worker.info.url.clone()).zip(now).collect();
    }
}

async fn probe(shared: &Shared, worker: &WorkerStatus, before: Seen, limit: Duration) -> Seen {
    let (id, url) = (worker.info.id, &worker.info.url);
    let limit = limit.max(Duration::from_millis(500));
    let answers = tokio::time::timeout(limit, ask(shared, url)).await;
    let Ok(Ok(metrics)) = answers else {
        let _ = shared.router.set_health(id, Some(false));
        return Seen { down: true, ..before };
    };
    let started = value(&metrics, "process_start_time_seconds");
    // One that was down before anybody could ask it counts as new, too: what it holds is unknown.
    let known = before.started.is_some() || before.down;
    let restarted = known && started.is_some() && started != before.started;
    // Errors mean that somebody has removed the worker meanwhile: nothing is left to do.
    if restarted {
        let _ = register_anew(shared, worker, kv_tokens(&metrics));
    } else if before.down {
        let _ = shared.router.set_health(id, None);
    }
    if !restarted {
        report_load(shared, id, &metrics);
    }
    Seen { down: false, started: started.or(before.started) }
}

/// `/metrics` of a worker whose `/health` is good. Engines without metrics are fine too.
async fn ask(shared: &Shared, url: &str) -> Result<String, AnyError> {
    let (status, _) = call(&shared.client, Method::GET, &format!("{url}/health"), "").await?;
    if status != 200 {
        return Err(format!("/health answered {status}").into());
    }
    let (status, text) = call(&shared.client, Method::GET, &format!("{url}/metrics"), "").await?;
    Ok(if status == 200 { String::from_utf8_lossy(&text).into_owned() } else { String::new() })
}

fn register_anew(
    shared: &Shared,
    worker: &WorkerStatus,
    capacity: Option<u64>,
) -> Result<(), AnyError> {
    let info = &worker.info;
    let mut spec = WorkerSpec::new(&info.url).role(info.role).weight(worker.weight);
    if let Some(group) = &info.group {
        spec = spec.group(group);
    }
    if let Some(tokens) = capacity.or(info.kv_capacity_tokens) {
        spec = spec.kv_capacity_tokens(tokens);
    }
    for (key, value) in &info.labels {
        spec = spec.label(key, value);
    }
    shared.router.remove_worker(info.id)?;
    let id = shared.router.add_worker(spec.user_data(info.user_data))?;
    shared.router.drain_worker(id, worker.draining)?;
    Ok(())
}

fn report_load(shared: &Shared, id: WorkerId, metrics: &str) {
    let running = value(metrics, "vllm:num_requests_running");
    let waiting = value(metrics, "vllm:num_requests_waiting");
    let (Some(running), Some(waiting)) = (running, waiting) else { return };
    let usage = value(metrics, "vllm:kv_cache_usage_perc")
        .or_else(|| value(metrics, "vllm:gpu_cache_usage_perc"));
    let total = kv_tokens(metrics);
    let report = LoadReport {
        running: running as u32,
        waiting: waiting as u32,
        kv_used_tokens: usage.zip(total).map(|(usage, total)| (usage * total as f64) as u64),
        kv_total_tokens: total,
        at: shared.started.elapsed().as_nanos() as u64,
    };
    let _ = shared.router.report_load(id, report);
}

/// The worker's KV cache in tokens, if it answers and says so.
pub(crate) async fn kv_capacity(shared: &Shared, url: &str) -> Option<u64> {
    let answer = tokio::time::timeout(Duration::from_secs(1), ask(shared, url)).await;
    kv_tokens(&answer.ok()?.ok()?)
}

/// The sum over all samples of a metric: an engine with several ranks reports one for each.
fn value(metrics: &str, name: &str) -> Option<f64> {
    samples(metrics, name)
        .filter_map(|sample| sample.rsplit(' ').next()?.parse::<f64>().ok())
        .reduce(|sum, value| sum + value)
}

/// The KV cache's size, from the labels of vLLM's configuration metric.
fn kv_tokens(metrics: &str) -> Option<u64> {
    let line = samples(metrics, "vllm:cache_config_info").next()?;
    let label = |name: &str| -> Option<u64> {
        line.split_once(&format!("{name}=\""))?.1.split('"').next()?.parse().ok()
    };
    label("num_gpu_blocks")?.checked_mul(label("block_size")?)
}

/// What follows the name in every sample of the metric.
fn samples<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    metrics
        .lines()
        .filter_map(move |line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
}
