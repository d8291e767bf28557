//! Many requests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::Method;
use futures_util::future::try_join_all;
use serde_json::json;

use super::{Verdict, demand};
use crate::bench::Bench;
use crate::http::{AnyError, call};

const REQUESTS: u64 = 10_000;
const CLIENTS: u64 = 32;
/// One request in this many has no body.
const BODYLESS: u64 = 50;

/// Prompts short and long, streamed and not, and requests without a body: each is answered by an engine.
pub(super) async fn ten_thousand(bench: &mut Bench) -> Verdict {
    let (next, before) = (AtomicU64::new(0), bench.succeeded());
    let (bench, next) = (&*bench, &next);
    try_join_all((0..CLIENTS).map(|_| async move {
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= REQUESTS {
                return Ok::<_, AnyError>(());
            }
            one(bench, number).await.map_err(|error| format!("request {number}: {error}"))?;
        }
    }))
    .await?;
    let generated = REQUESTS - REQUESTS / BODYLESS;
    let served = bench.succeeded() - before;
    demand(served == generated, || format!("the engines served {served} of {generated}"))?;
    let busiest = bench.engines.iter().map(|engine| engine.stats().succeeded).max();
    let over_mean = busiest.unwrap_or(0) as f64 * bench.engines.len() as f64 / served as f64;
    Ok(format!("{REQUESTS} answered, busiest worker {over_mean:.2} times the mean"))
}

async fn one(bench: &Bench, number: u64) -> Result<(), AnyError> {
    let url = bench.url();
    if number % BODYLESS == 0 {
        let (status, _) = call(&bench.client, Method::GET, &format!("{url}/v1/models"), "").await?;
        return demand(status == 200, || format!("answered {status}"));
    }
    let stream = number % 3 == 0;
    let body = json!({
        "prompt": format!("{} {}", number % 97, "and so on ".repeat((number % 400) as usize)),
        "max_tokens": 1 + number % 3,
        "stream": stream,
    });
    let url = format!("{url}/v1/completions");
    let (status, text) = call(&bench.client, Method::POST, &url, body.to_string()).await?;
    demand(status == 200, || format!("answered {status}: {}", String::from_utf8_lossy(&text)))?;
    demand(!stream || text.ends_with(b"data: [DONE]\n\n"), || "the answer broke off".to_owned())
}
