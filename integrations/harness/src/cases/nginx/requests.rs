//! What nginx hands to the router: prompts, keys, and what became of requests.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::net::TcpListener;

use super::{reply, sum};
use crate::bench::{Bench, until};
use crate::cases::{Verdict, bodies, demand, streams};
use crate::http::{AnyError, WORKER_HEADER, call};

/// A body that passes while it arrives is routed without a prompt when it is not there as a whole.
pub(super) async fn unbuffered_bodies(bench: &mut Bench) -> Verdict {
    let prompts = "pointsman_policy_prompt_tokens_total";
    let text = "long ".repeat(200_000);
    for _ in 0..4 {
        bodies::send(bench, &text, 10_000).await?;
    }
    let read = sum(&bench.status().await?, prompts, "");
    demand(read < 250_000, || format!("{read} tokens were read of bodies that were not there"))?;
    Ok("4 bodies of 1 MB passed on".to_owned())
}

/// Requests without a prompt that can be found go where their key says; namespaces share nothing.
pub(super) async fn keys(bench: &mut Bench) -> Verdict {
    let ask = async |session: u64, team: &str, prompt: &str| -> Result<String, AnyError> {
        let body = json!({ "prompt": prompt, "max_tokens": 1 }).to_string();
        let request = Request::post(format!("{}/v1/completions", bench.url()))
            .header("x-session", format!("session {session}"))
            .header("x-team", team)
            .body(Full::new(Bytes::from(body)))?;
        let response = bench.client.request(request).await?;
        let worker = response.headers().get(WORKER_HEADER).cloned();
        response.into_body().collect().await?;
        Ok(worker.ok_or("the answer names no worker")?.to_str()?.to_owned())
    };
    let mut workers = BTreeSet::new();
    for session in 0..16 {
        let first = ask(session, "a", &format!("{session} short")).await?;
        for number in 0..3 {
            let again = ask(session, "a", &format!("{number} {session} other")).await?;
            demand(again == first, || format!("session {session}: {first}, then {again}"))?;
        }
        workers.insert(first);
    }
    demand(workers.len() > 1, || "all sessions at one worker".to_owned())?;
    let matched = "pointsman_policy_matched_tokens_total";
    let long = "the same beginning ".repeat(100);
    ask(1, "a", &long).await?;
    ask(1, "b", &long).await?;
    let apart = sum(&bench.status().await?, matched, "");
    demand(apart == 0, || format!("{apart} tokens matched across namespaces"))?;
    Ok(format!("16 sessions stay, on {} workers; 2 namespaces apart", workers.len()))
}

/// Worker, reason and matched tokens stand in the access log.
pub(super) async fn access_log(bench: &mut Bench) -> Verdict {
    let prompt = "a prompt that comes twice ".repeat(100);
    for _ in 0..2 {
        bodies::send(bench, &prompt, prompt.len() * 2).await?;
    }
    // The harness's own first request, and these two; nginx writes a line after it has answered.
    let (path, mut log) = (bench.site.dir.join("access.log"), String::new());
    until("three lines in the log", || {
        log = std::fs::read_to_string(&path).unwrap_or_default();
        log.lines().count() == 3
    })
    .await?;
    let lines: Vec<_> = log.lines().skip(1).collect();
    let [first, second] = lines[..] else { return Err(format!("the log has {log}").into()) };
    let worker = format!("worker={} ", second.split(' ').nth(1).unwrap_or_default());
    for part in [&*worker, "reason=least_work "] {
        demand(second.contains(part), || format!("no {part:?} in {second:?}"))?;
    }
    demand(first.contains("matched=0/"), || format!("matched at first: {first:?}"))?;
    demand(!second.contains("matched=0/"), || format!("nothing matched: {second:?}"))?;
    Ok(second.to_owned())
}

/// The router learns of the first byte while the answer still comes, and of the usage at its end.
pub(super) async fn reports(bench: &mut Bench) -> Verdict {
    let first_tokens = "pointsman_policy_first_tokens_total";
    let before = sum(&bench.status().await?, first_tokens, "");
    let answer = streams::stream(bench, 1, 20).await?;
    let status = bench.status().await?;
    let told = sum(&status, first_tokens, "") - before;
    let under_way = sum(&status, "pointsman_worker_in_flight", "");
    demand((told, under_way) == (1, 1), || format!("{told} first, {under_way} under way"))?;
    answer.collect().await?;
    let prompt = "a prompt that comes twice ".repeat(100);
    let mut cached = 0;
    for _ in 0..2 {
        cached += bodies::send(bench, &prompt, prompt.len() * 2).await?.cached;
    }
    let told = sum(&bench.status().await?, "pointsman_worker_reported_cached_tokens_total", "");
    demand(told == cached && told > 0, || format!("told {told} cached tokens of {cached}"))?;
    Ok(format!("first byte of 1 stream, {cached} cached tokens"))
}

/// What happened to requests is what the router is told.
pub(super) async fn outcomes(bench: &mut Bench) -> Verdict {
    let url = format!("{}/v1/chat/completions", bench.url());
    call(&bench.client, Method::POST, &url, "{}").await?;
    drop(streams::stream(bench, 1, 2_000).await?);
    bench.until_in_flight(0).await?;
    let cut = streams::stream(bench, 2, 2_000).await?;
    bench.engines[0].kill().await;
    demand(cut.collect().await.is_err(), || "the answer has an end".to_owned())?;
    let port = TcpListener::bind(bench.site.engines[0]).await?;
    let (asked, _) = tokio::join!(call(&bench.client, Method::POST, &url, "{}"), busy(&port));
    demand(asked?.0 == 503, || "the worker's 503 did not come through".to_owned())?;
    let (asked, _) = tokio::join!(call(&bench.client, Method::POST, &url, "{}"), port.accept());
    demand(asked?.0 == 504, || "no 504 for a worker that does not answer".to_owned())?;
    bench.until_in_flight(0).await?;
    let status = bench.status().await?;
    for outcome in ["client_error", "client_cancelled", "worker_error", "overloaded", "timeout"] {
        let label = format!("outcome=\"{outcome}\"");
        let told = sum(&status, "pointsman_worker_failures_total", &label);
        demand(told == 1, || format!("{told} of {outcome}"))?;
    }
    let weight = sum(&status, "pointsman_worker_weight", "");
    demand(weight == 0, || format!("the worker that wants a pause has weight {weight}"))?;
    Ok("a 4xx, a client that left, an answer that broke off, a 503, a silence".to_owned())
}

/// A worker that answers one request by asking for a pause.
async fn busy(port: &TcpListener) -> Result<(), AnyError> {
    let answer = "HTTP/1.1 503 Busy\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n";
    reply(&mut port.accept().await?.0, answer).await
}
