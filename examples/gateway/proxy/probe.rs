//! The host's part of health and load: asks every worker in turn whether it lives and how busy it is.
//!
//! A worker that does not answer `/health` is marked down; one that answers again is left to the
//! library's own judgement. One whose process has started anew has lost its cache, so it is registered
//! anew and the router forgets what it believed to be there. Load comes from `/metrics`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;
use pointsman::{LoadReport, WorkerId, WorkerSpec, WorkerStatus};
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::scrape::Scrape;
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
            // One that did not answer when it was registered is down.
            let unseen = Seen { down: !worker.healthy, started: None };
            let before = seen.get(&worker.info.url).copied().unwrap_or(unseen);
            probe(&shared, worker, before, interval)
        });
        let now = join_all(probes).await;
        let router = &shared.router;
        shared.refusals.keep(|id| router.worker(id).is_some());
        seen = workers.iter().map(|worker| worker.info.url.clone()).zip(now).collect();
    }
}

async fn probe(shared: &Shared, worker: &WorkerStatus, before: Seen, limit: Duration) -> Seen {
    let (id, url) = (worker.info.id, &worker.info.url);
    let limit = limit.max(Duration::from_millis(500));
    let answers = tokio::time::timeout(limit, ask(shared, url)).await;
    let Ok(Ok(scrape)) = answers else {
        let _ = shared.router.set_health(id, pointsman::HostHealth::Unhealthy);
        return Seen { down: true, ..before };
    };
    let started = scrape.started;
    // One that was down before it was ever asked counts as new, too: what it holds is unknown.
    let known = before.started.is_some() || before.down;
    let restarted = known && started.is_some() && started != before.started;
    // Fails where the worker was removed meanwhile: nothing is left to do.
    if restarted {
        let _ = register_anew(shared, worker, scrape.kv_total_tokens);
    } else if before.down {
        let _ = shared.router.set_health(id, pointsman::HostHealth::Unknown);
    }
    if !restarted {
        report_load(shared, id, &scrape);
    }
    Seen { down: false, started: started.or(before.started) }
}

/// `/metrics` of a worker whose `/health` is good. Engines without metrics are fine too.
async fn ask(shared: &Shared, url: &str) -> Result<Scrape, AnyError> {
    let client = shared.workers.keeping();
    let (status, _) = call(client, Method::GET, &format!("{url}/health"), "").await?;
    if status != 200 {
        return Err(format!("/health answered {status}").into());
    }
    let (status, text) = call(client, Method::GET, &format!("{url}/metrics"), "").await?;
    Ok(if status == 200 {
        Scrape::parse(&String::from_utf8_lossy(&text))
    } else {
        Scrape::default()
    })
}

/// The worker has lost what it held, so the router forgets it, too.
pub(crate) fn register_anew(
    shared: &Shared,
    worker: &WorkerStatus,
    capacity: Option<u64>,
) -> Result<(), AnyError> {
    let info = &worker.info;
    let mut spec = WorkerSpec::new(&info.url).role(info.role).weight(worker.weight);
    if let Some(group) = &info.group {
        spec = spec.group(group);
    }
    if let Some(limit) = worker.max_in_flight {
        spec = spec.max_in_flight(limit);
    }
    if let Some(tokens) = capacity.or(info.kv_capacity_tokens) {
        spec = spec.kv_capacity_tokens(tokens);
    }
    if let Some(limit) = worker.max_in_flight {
        spec = spec.max_in_flight(limit);
    }
    for (key, value) in &info.labels {
        spec = spec.label(key, value);
    }
    shared.router.remove_worker(info.id)?;
    let id = shared.router.add_worker(spec.user_data(info.user_data))?;
    if worker.draining {
        shared.router.drain_worker(id)?;
    }
    Ok(())
}

/// Missing figures are not reported as zero: the library then goes by what is in flight.
fn report_load(shared: &Shared, id: WorkerId, scrape: &Scrape) {
    let (Some(running), Some(waiting)) = (scrape.running, scrape.waiting) else { return };
    let report = LoadReport {
        running,
        waiting,
        kv_used_tokens: scrape.kv_used_tokens,
        kv_total_tokens: scrape.kv_total_tokens,
        at: shared.started.elapsed().into(),
    };
    let _ = shared.router.report_load(id, report);
}

/// What a worker says of itself, if it answers soon.
pub(crate) async fn ask_once(shared: &Shared, url: &str) -> Option<Scrape> {
    tokio::time::timeout(Duration::from_secs(1), ask(shared, url)).await.ok()?.ok()
}
