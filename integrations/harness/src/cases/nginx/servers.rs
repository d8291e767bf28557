//! Which servers nginx asks: its own judgement of them, and its retries.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{address, attempts, reply, sum};
use crate::bench::Bench;
use crate::cases::{Verdict, demand, quick, streams};
use crate::engine::Engine;
use crate::http::{AnyError, call, client};

/// Two of three workers are down, and nginx does not remember it: each request tries a worker once.
pub(super) async fn retries(bench: &mut Bench) -> Verdict {
    const REQUESTS: u64 = 40;
    bench.engines[0].kill().await;
    bench.engines[1].kill().await;
    let mut tried = 0;
    for number in 0..REQUESTS {
        let attempts = attempts(bench, number).await?;
        let distinct: BTreeSet<_> = attempts.iter().collect();
        demand(distinct.len() == attempts.len(), || format!("asked twice: {attempts:?}"))?;
        let last = attempts.last().map(String::as_str);
        demand(last == Some(&*address(bench, 2)), || format!("answered by {last:?}"))?;
        tried += attempts.len() as u64;
    }
    demand(tried > REQUESTS, || "no request met a worker that is down".to_owned())?;
    Ok(format!("{REQUESTS} answered in {tried} attempts, none twice at a worker"))
}

/// A worker that failed once is left alone, by every process that knows of it.
pub(super) async fn max_fails(bench: &mut Bench) -> Verdict {
    const REQUESTS: u64 = 40;
    bench.engines[0].kill().await;
    let mut failed = 0;
    for number in 0..REQUESTS {
        let attempts = attempts(bench, number).await?;
        failed += attempts.iter().filter(|&attempt| *attempt == address(bench, 0)).count();
    }
    demand(failed == 1, || format!("it was asked {failed} times"))?;
    let down = format!("worker=\"{}\"", address(bench, 0));
    let healthy = sum(&bench.status().await?, "pointsman_worker_healthy", &down);
    demand(healthy < bench.process().children().len() as u64, || {
        "its metrics say that it is healthy".to_owned()
    })?;
    Ok(format!("{REQUESTS} answered, one attempt at the worker that is down"))
}

/// A server that is down gets nothing, a backup only what no other can take.
pub(super) async fn down_and_backup(bench: &mut Bench) -> Verdict {
    const REQUESTS: u64 = 20;
    for number in 0..REQUESTS {
        let attempts = attempts(bench, number).await?;
        demand(attempts == [address(bench, 1)], || format!("asked {attempts:?}"))?;
    }
    bench.engines[1].kill().await;
    for number in 0..REQUESTS {
        let attempts = attempts(bench, number).await?;
        let last = attempts.last().map(String::as_str);
        demand(last == Some(&*address(bench, 2)), || format!("asked {attempts:?}"))?;
    }
    let served = bench.engines[0].stats().succeeded;
    demand(served == 0, || format!("the one that is down served {served}"))?;
    Ok(format!("{REQUESTS} by the only one that is up, then {REQUESTS} by the backup"))
}

/// A server's weight is its worker's.
pub(super) async fn weights(bench: &mut Bench) -> Verdict {
    const REQUESTS: u64 = 40;
    for number in 0..REQUESTS {
        attempts(bench, number).await?;
    }
    let served = [0, 1].map(|engine: usize| bench.engines[engine].stats().succeeded);
    // The harness itself asked once, to see that nginx serves.
    let due = REQUESTS * 3 / 4;
    demand(served[0].abs_diff(due) <= 1, || format!("{served:?} of {REQUESTS}"))?;
    Ok(format!("{} to {}", served[0], served[1]))
}

/// Each address of a name is a worker.
pub(super) async fn names(bench: &mut Bench) -> Verdict {
    const REQUESTS: u64 = 40;
    let port = bench.site.engines[0].port();
    let second = Engine::start(quick(), ([127, 0, 0, 2], port).into()).await?;
    for number in 0..REQUESTS {
        attempts(bench, number).await?;
    }
    let served = [bench.engines[0].stats().succeeded, second.stats().succeeded];
    demand(served.iter().all(|&served| served > 0), || format!("{served:?} of {REQUESTS}"))?;
    Ok(format!("{} and {} requests by its two addresses", served[0], served[1]))
}

/// A worker that has as many requests as it may is passed over.
pub(super) async fn max_conns(bench: &mut Bench) -> Verdict {
    const STREAMS: u64 = 12;
    let mut answers = Vec::new();
    for number in 0..STREAMS {
        bench.client = client(Duration::from_secs(2));
        answers.push(streams::stream(bench, number, 50).await?);
    }
    let running = [0, 1].map(|engine: usize| bench.engines[engine].stats().running as u64);
    demand(running == [1, STREAMS - 1], || format!("{running:?} running"))?;
    for answer in answers {
        answer.collect().await?;
    }
    Ok(format!("{} at the worker with max_conns=1, {} at the other", running[0], running[1]))
}

/// An only server that closed a kept connection is asked again over a new one.
pub(super) async fn only(bench: &mut Bench) -> Verdict {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    bench.engines[0].kill().await;
    let port = TcpListener::bind(bench.site.engines[0]).await?;
    let url = format!("{}/v1/models", bench.url());
    let ask = || call(&bench.client, Method::GET, &url, "");
    let (asked, kept) = tokio::join!(ask(), async {
        let (mut connection, _) = port.accept().await?;
        reply(&mut connection, ANSWER).await?;
        Ok::<_, AnyError>(connection)
    });
    let first = asked?.0;
    let mut kept = kept?;
    let (asked, answered) = tokio::join!(ask(), async {
        let _ = kept.read(&mut [0; 4096]).await?;
        drop(kept);
        let (mut connection, _) = port.accept().await?;
        reply(&mut connection, ANSWER).await
    });
    answered?;
    let second = asked?.0;
    demand((first, second) == (200, 200), || format!("answered {first}, then {second}"))?;
    Ok("asked again".to_owned())
}

/// The README's lines by which a request is not retried at every worker.
pub(super) const RETRIES: &str = "proxy_next_upstream error timeout http_503 non_idempotent;\n            \
                                  proxy_next_upstream_tries 2;";

/// A request that ends each engine that gets it comes to two of four, and takes none out.
pub(super) async fn poison(bench: &mut Bench) -> Verdict {
    let readme = include_str!("../../../../nginx/README.md");
    for line in RETRIES.lines().map(str::trim).chain(["max_fails=3"]) {
        demand(readme.contains(line), || format!("the README does not say {line}"))?;
    }
    let poisoned = Arc::<AtomicU64>::default();
    for engine in 0..4 {
        bench.engines[engine].kill().await;
        let port = TcpListener::bind(bench.site.engines[engine]).await?;
        tokio::spawn(fragile(port, poisoned.clone()));
    }
    let url = format!("{}/v1/completions", bench.url());
    let ask = async |prompt: &str| -> Result<u16, AnyError> {
        let body = json!({ "prompt": prompt, "max_tokens": 1 }).to_string();
        Ok(call(&bench.client, Method::POST, &url, body).await?.0)
    };
    demand(ask("poison").await? == 502, || "the poison was answered".to_owned())?;
    let ended = poisoned.load(Relaxed);
    demand(ended == 2, || format!("{ended} engines got it"))?;
    for number in 0..40 {
        let status = ask(&format!("{number}, harmless")).await?;
        demand(status == 200, || format!("{status} for what comes after it"))?;
    }
    let status = bench.status().await?;
    let healthy = sum(&status, "pointsman_worker_healthy", "");
    demand(healthy == 4, || format!("{healthy} of 4 are healthy"))?;
    Ok("it came to 2 of 4 engines; 40 requests after it answered, all 4 in service".to_owned())
}

/// A worker that ends its connection when it gets poison, and answers everything else.
async fn fragile(port: TcpListener, poisoned: Arc<AtomicU64>) {
    while let Ok((mut connection, _)) = port.accept().await {
        let poisoned = poisoned.clone();
        tokio::spawn(async move {
            let mut request = [0; 4096];
            while let Ok(length @ 1..) = connection.read(&mut request).await {
                if request[..length].windows(6).any(|window| window == b"poison") {
                    poisoned.fetch_add(1, Relaxed);
                    return;
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                if connection.write_all(answer).await.is_err() {
                    return;
                }
            }
        });
    }
}
