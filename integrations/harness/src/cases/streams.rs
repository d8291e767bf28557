//! Answers that are looked at before they are complete.

use axum::body::Bytes;
use axum::http::Request;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Verdict, demand};
use crate::bench::{Bench, until, until_ok};
use crate::engine::Engine;
use crate::http::AnyError;

/// The first event is there while the engine still generates.
pub(super) async fn unbuffered(bench: &mut Bench) -> Verdict {
    let mut events = 0;
    for number in 0..4 {
        let mut body = stream(bench, number, 20).await?;
        let finished = bench.succeeded();
        demand(running(bench) == 1, || "the answer was over when it began".to_owned())?;
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            text.extend_from_slice(frame?.data_ref().map_or(&[], |data| data));
            events += 1;
        }
        demand(text.ends_with(b"data: [DONE]\n\n"), || "the answer has no end".to_owned())?;
        demand(bench.succeeded() == finished + 1, || "the engine did not finish".to_owned())?;
    }
    // A gateway that collects events would hand over fewer, larger pieces.
    demand(events >= 4 * 15, || format!("80 events came in {events} pieces"))?;
    Ok(format!("80 events in {} pieces", events + 4))
}

/// Clients that go away, in the middle of an answer or before it, free their workers and harm no worker's
/// health.
pub(super) async fn disconnect(bench: &mut Bench) -> Verdict {
    const CLIENTS: u64 = 10;
    const TOKENS: usize = 2_000;
    let streams = try_join_all((0..CLIENTS).map(|number| stream(bench, number, TOKENS))).await?;
    let mut waiting = JoinSet::new();
    for number in CLIENTS..2 * CLIENTS {
        waiting.spawn(bench.client.request(request(bench, number, TOKENS, false)?));
    }
    bench.until_in_flight(2 * CLIENTS).await?;
    until("the engines are at work", || running(bench) == 2 * CLIENTS as usize).await?;
    drop((streams, waiting));
    until("the engines stop generating", || running(bench) == 0).await?;
    bench.until_in_flight(0).await?;
    let cancelled: u64 = bench.engines.iter().map(|engine| engine.stats().cancelled).sum();
    demand(cancelled == 2 * CLIENTS, || format!("the engines saw {cancelled} disconnects"))?;
    let blamed = bench.blamed().await?.unwrap_or(0);
    demand(blamed == 0, || format!("{blamed} requests counted against their workers"))?;
    // All workers still serve.
    for number in 0..40 {
        stream(bench, 1_000 + number, 1).await?.collect().await?;
    }
    let idle = bench.engines.iter().filter(|engine| engine.stats().succeeded == 0).count();
    demand(idle == 0, || format!("{idle} workers serve nothing since"))?;
    Ok(format!("{CLIENTS} in the middle of an answer and {CLIENTS} before it: all freed"))
}

/// A worker that dies in the middle of an answer: the client sees that it is not whole, and the worker is
/// blamed.
pub(super) async fn broken(bench: &mut Bench) -> Verdict {
    let body = stream(bench, 0, 2_000).await?;
    let at_work = |engine: &Engine| engine.stats().running > 0;
    let worker = bench.engines.iter().position(at_work).ok_or("no engine is at work")?;
    bench.engines[worker].kill().await;
    demand(body.collect().await.is_err(), || "the answer seems whole".to_owned())?;
    bench.until_in_flight(0).await?;
    // What other processes of the gateway know may be told a moment later.
    let mut blamed = None;
    until_ok("a worker is blamed", async || {
        blamed = bench.blamed().await.unwrap_or(Some(0));
        blamed != Some(0)
    })
    .await?;
    Ok(format!("seen by the client, {} blamed", blamed.map_or("?".to_owned(), |n| n.to_string())))
}

/// A streamed answer whose first event has arrived.
pub(super) async fn stream(
    bench: &Bench,
    number: u64,
    tokens: usize,
) -> Result<Incoming, AnyError> {
    let request = request(bench, number, tokens, true)?;
    let response = bench.client.request(request).await?;
    let status = response.status();
    demand(status.is_success(), || format!("answered {status}"))?;
    let mut body = response.into_body();
    let first = body.frame().await.ok_or("the answer is empty")??;
    let data = first.into_data().unwrap_or_default();
    demand(data.starts_with(b"data: "), || format!("no event: {data:?}"))?;
    Ok(body)
}

fn request(
    bench: &Bench,
    number: u64,
    tokens: usize,
    stream: bool,
) -> Result<Request<Full<Bytes>>, AnyError> {
    let body = json!({
        "messages": [{ "role": "user", "content": format!("{number}: {}", "why? ".repeat(200)) }],
        "max_tokens": tokens,
        "stream": stream,
    });
    Ok(Request::post(format!("{}/v1/chat/completions", bench.url()))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))?)
}

fn running(bench: &Bench) -> usize {
    bench.engines.iter().map(|engine| engine.stats().running).sum()
}
