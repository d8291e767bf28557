//! What only Envoy has: pairs by a request header, and retries by the route's policy.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::task::AbortHandle;

use super::{Case, Verdict, demand, quick};
use crate::bench::{Bench, until_ok};
use crate::gateway::envoy::{self, Variant};
use crate::http::{AnyError, WORKER_HEADER, call, client};
use crate::ports;

pub(crate) static ALL: &[Case] = &[
    case!("pairs by a request header", 2, quick, pairs),
    case!("retries leave out the failed host", 2, quick, retries),
    case!("the README's configuration", 2, quick, example),
];

const PREFILL: &str = "x-prefiller-host-port";
const REQUESTS: usize = 40;

/// Something that looks like a worker, and tells what it was sent. Dropping it ends it.
struct Stub {
    address: SocketAddr,
    task: AbortHandle,
}

impl Stub {
    /// Answers every POST with this status, and with the prefill worker that the request names.
    async fn start(status: StatusCode) -> Result<Stub, AnyError> {
        let answer = move |request: Request<axum::body::Body>| async move {
            let named = request.headers().get(PREFILL).cloned();
            let posted = request.method() == Method::POST;
            let body = named.map_or(Bytes::new(), |value| Bytes::copy_from_slice(value.as_bytes()));
            (if posted { status } else { StatusCode::OK }, body)
        };
        let address: SocketAddr = ([127, 0, 0, 1], ports::free()?).into();
        let listener = tokio::net::TcpListener::bind(address).await?;
        let app = Router::new().fallback(answer);
        let task = tokio::spawn(async { axum::serve(listener, app).await }).abort_handle();
        Ok(Stub { address, task })
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The decode worker gets the request, with the prefill worker in a header; a prompt stays with its
/// prefill worker.
async fn pairs(bench: &mut Bench) -> Verdict {
    let stubs = [Stub::start(StatusCode::OK).await?, Stub::start(StatusCode::OK).await?];
    let prefill: Vec<_> = bench.site.engines.iter().map(|&engine| (engine, "prefill")).collect();
    let decode = stubs.iter().map(|stub| (stub.address, "decode"));
    let settings = json!({ "router": { "policy": "cache_aware" }, "prefill_header": PREFILL });
    let members = prefill.iter().copied().chain(decode).collect();
    envoy::vary(&bench.site, &Variant { members, settings, retry_on: "connect-failure" })?;
    let known: BTreeSet<_> = bench.site.engines.iter().map(SocketAddr::to_string).collect();
    until_ok("pairs are made", async || {
        ask(bench, "first").await.is_ok_and(|it| known.contains(&it.1))
    })
    .await?;
    let mut used = BTreeSet::new();
    for number in 0..REQUESTS {
        let text = format!("{number} {}", "a prompt for two ".repeat(50));
        let (worker, first) = ask(bench, &text).await?;
        let is_decode = stubs.iter().any(|stub| stub.address.to_string() == worker);
        demand(is_decode, || format!("{worker} is no decode worker"))?;
        let (_, second) = ask(bench, &text).await?;
        demand(known.contains(&first), || format!("{first:?} is no prefill worker"))?;
        demand(first == second, || format!("prompt {number} went to {second} for prefill"))?;
        used.insert(first);
    }
    demand(used.len() == known.len(), || format!("only {used:?} do prefill"))?;
    Ok(format!("{REQUESTS} prompts over {} prefill workers", used.len()))
}

/// Where the route retries, the worker that failed is left out, though it looks idle and holds the prompt.
async fn retries(bench: &mut Bench) -> Verdict {
    let broken = Stub::start(StatusCode::INTERNAL_SERVER_ERROR).await?;
    let sound = Stub::start(StatusCode::OK).await?;
    // Without ejection, so that it is tried again and again.
    let settings = json!({ "router": { "health": { "failures": 0 } } });
    let members = vec![(broken.address, ""), (sound.address, "")];
    envoy::vary(&bench.site, &Variant { members, settings, retry_on: "5xx" })?;
    let expected = sound.address.to_string();
    until_ok("a request is retried", async || {
        let answered = ask(bench, "first").await.is_ok_and(|it| it.0 == expected);
        answered && retried(bench).await.is_ok_and(|count| count > 0)
    })
    .await?;
    for number in 0..REQUESTS {
        let (worker, _) = ask(bench, &format!("{number} retried ").repeat(50)).await?;
        demand(worker == expected, || format!("{worker} answered"))?;
    }
    Ok(format!("{REQUESTS} answered, {} retried", retried(bench).await?))
}

async fn retried(bench: &Bench) -> Result<u64, AnyError> {
    let url = bench.gateway.status_url(&bench.site);
    let (_, text) = call(&bench.client, Method::GET, &url, "").await?;
    Ok(envoy::counter(&String::from_utf8_lossy(&text), "retries"))
}

/// The configuration that the README shows is one that Envoy takes.
async fn example(bench: &mut Bench) -> Verdict {
    envoy::validate(&bench.site, &bench.site.root.join("integrations/envoy/envoy.yaml"))?;
    Ok("accepted".to_owned())
}

/// The worker that answered, and what it said.
async fn ask(bench: &Bench, prompt: &str) -> Result<(String, String), AnyError> {
    let body = json!({ "prompt": prompt, "max_tokens": 1 }).to_string();
    let request = Request::post(format!("{}/v1/completions", bench.url()))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    // A connection of its own: one made before a change stays with the configuration of that time.
    let response = client(Duration::from_secs(2)).request(request).await?;
    let status = response.status();
    demand(status.is_success(), || format!("answered {status}"))?;
    let worker = response.headers().get(WORKER_HEADER).ok_or("no worker is named")?;
    let worker = worker.to_str()?.to_owned();
    let said = response.into_body().collect().await?.to_bytes();
    Ok((worker, String::from_utf8_lossy(&said).into_owned()))
}
