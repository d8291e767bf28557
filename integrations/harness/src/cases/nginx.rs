//! What only nginx has: its own judgement of servers, its retries, its processes.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use rustix::process::{Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Case, Verdict, bodies, conversations, demand, quick, slow, streams, vast, volume};
use crate::bench::{Bench, until};
use crate::engine::{Engine, EngineConfig};
use crate::gateway::nginx::{FILE, Nginx};
use crate::http::{AnyError, call, client};

/// nginx with one process or two, its template changed as said.
const fn one(edits: &'static [(&'static str, &'static str)]) -> Nginx {
    Nginx { processes: 1, edits, hosts: None }
}
const fn two(edits: &'static [(&'static str, &'static str)]) -> Nginx {
    Nginx { processes: 2, edits, hosts: None }
}

pub(crate) static ALL: &[(Nginx, Case)] = &[
    (
        two(&[(
            "{{servers}}",
            "server {{engine0}} max_fails=0; server {{engine1}} max_fails=0; server {{engine2}};",
        )]),
        case!("a retry goes elsewhere", 3, quick, retries),
    ),
    (
        one(&[(
            "{{servers}}",
            "server {{engine0}} fail_timeout=60s; server {{engine1}}; server {{engine2}};",
        )]),
        case!("max_fails and fail_timeout", 3, quick, max_fails),
    ),
    (
        two(&[(
            "{{servers}}",
            "zone engines 256k; server {{engine0}} fail_timeout=60s; server {{engine1}};",
        )]),
        case!("servers in a zone", 2, quick, max_fails),
    ),
    (
        two(&[(
            "{{servers}}",
            "server {{engine0}} down; server {{engine1}}; server {{engine2}} backup;",
        )]),
        case!("down and backup", 3, quick, down_and_backup),
    ),
    (
        one(&[
            ("{{servers}}", "server {{engine0}} weight=3; server {{engine1}};"),
            ("{{balance}}", "pointsman policy=round_robin;"),
        ]),
        case!("weights", 2, quick, weights),
    ),
    (
        Nginx {
            processes: 1,
            edits: &[("{{servers}}", "server engines.test:{{port0}} max_fails=0;")],
            hosts: Some("127.0.0.1 engines.test\n127.0.0.2 engines.test\n"),
        },
        case!("a name with several addresses", 1, quick, names),
    ),
    (
        two(&[("proxy_buffering off;", "proxy_buffering off; proxy_request_buffering off;")]),
        case!("bodies that are not buffered", 2, vast, unbuffered_bodies),
    ),
    (
        two(&[("client_body_temp_path", "client_body_buffer_size 4m; client_body_temp_path")]),
        case!("bodies of 1 MB in memory", 2, vast, bodies::large),
    ),
    (
        two(&[("{{balance}}", "pointsman routing_key=$http_x_session namespace=$http_x_team;")]),
        case!("routing keys and namespaces", 4, EngineConfig::default, keys),
    ),
    (one(&[]), case!("the access log tells the decision", 4, EngineConfig::default, access_log)),
    (one(&[]), case!("first byte and usage", 2, slow, reports)),
    (
        one(&[("proxy_buffering off;", "proxy_buffering off; proxy_read_timeout 1s;")]),
        case!("outcomes", 1, slow, outcomes),
    ),
    (
        two(&[(
            "{{servers}}",
            "zone engines 256k; server {{engine0}} max_conns=1; server {{engine1}};",
        )]),
        case!("max_conns", 2, slow, max_conns),
    ),
    (two(&[]), case!("processes and reloads agree", 4, quick, agreement)),
    (one(&[]), case!("the README's configuration", 2, quick, readme)),
    (two(&[]), case!("graceful shutdown", 2, slow, shutdown)),
    (two(&[]), case!("a process killed", 2, slow, process_killed)),
    (one(&[]), case!("10,000 requests, one process", 8, quick, volume::ten_thousand)),
    (
        Nginx { processes: 4, edits: &[], hosts: None },
        case!("10,000 requests, four processes", 8, quick, volume::ten_thousand),
    ),
];

/// Two of three workers are down, and nginx does not remember it: each request tries a worker once.
async fn retries(bench: &mut Bench) -> Verdict {
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
async fn max_fails(bench: &mut Bench) -> Verdict {
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
async fn down_and_backup(bench: &mut Bench) -> Verdict {
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
async fn weights(bench: &mut Bench) -> Verdict {
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
async fn names(bench: &mut Bench) -> Verdict {
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

/// A body that passes while it arrives is routed without a prompt when it is not there as a whole.
async fn unbuffered_bodies(bench: &mut Bench) -> Verdict {
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
async fn keys(bench: &mut Bench) -> Verdict {
    let ask = async |session: u64, team: &str, prompt: &str| -> Result<String, AnyError> {
        let body = json!({ "prompt": prompt, "max_tokens": 1 }).to_string();
        let request = Request::post(format!("{}/v1/completions", bench.url()))
            .header("x-session", format!("session {session}"))
            .header("x-team", team)
            .body(Full::new(Bytes::from(body)))?;
        let response = bench.client.request(request).await?;
        let worker = response.headers().get(crate::http::WORKER_HEADER).cloned();
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
async fn access_log(bench: &mut Bench) -> Verdict {
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
async fn reports(bench: &mut Bench) -> Verdict {
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
async fn outcomes(bench: &mut Bench) -> Verdict {
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
    let (mut connection, _) = port.accept().await?;
    let mut read = [0; 4096];
    let _ = connection.read(&mut read).await?;
    let answer =
        "HTTP/1.1 503 Busy\r\nretry-after: 60\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    Ok(connection.write_all(answer.as_bytes()).await?)
}

/// A worker that has as many requests as it may is passed over.
async fn max_conns(bench: &mut Bench) -> Verdict {
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

/// Prompts that a process has not seen go where the other sent them, and after a reload, when no process
/// has seen any, where they went before.
async fn agreement(bench: &mut Bench) -> Verdict {
    const PROMPTS: u64 = 24;
    let mut first = Vec::new();
    for number in 0..PROMPTS {
        first.push(attempts(bench, number).await?);
    }
    let before = bench.process().children();
    bench.reload()?;
    until("the old processes end", || {
        bench.process().children().iter().all(|child| !before.contains(child))
    })
    .await?;
    let mut again = 0;
    for (number, first) in first.iter().enumerate() {
        again += u64::from(attempts(bench, number as u64).await? == *first);
    }
    let workers = first.iter().collect::<BTreeSet<_>>().len();
    demand(workers == 4, || format!("all at {workers} workers"))?;
    demand(again * 10 >= PROMPTS * 9, || format!("{again} of {PROMPTS} came back"))?;
    Ok(format!("{again} of {PROMPTS} prompts came back to their worker"))
}

/// The README's shortest configuration serves, with this run's addresses in it.
async fn readme(bench: &mut Bench) -> Verdict {
    let readme = include_str!("../../../nginx/README.md");
    let block = readme.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next());
    let (site, path) = (&bench.site, bench.site.dir.join(FILE));
    let own = std::fs::read_to_string(&path)?;
    let (globals, http) = own.split_once("http {").ok_or("no http block")?;
    let load_module = globals.lines().find(|line| line.starts_with("load_module"));
    let temporary = http.lines().filter(|line| line.contains("_temp_path"));
    let text = block
        .ok_or("the README has no configuration")?
        .replace(
            "load_module /path/to/ngx_http_pointsman_module.so;",
            load_module.unwrap_or_default(),
        )
        .replace("10.0.0.1:8000", &site.engines[0].to_string())
        .replace("10.0.0.2:8000", &site.engines[1].to_string())
        .replace(
            "listen 8080;",
            &format!("listen 127.0.0.1:{}; listen 127.0.0.1:{};", site.listen, site.status),
        )
        .replace(
            "events {}",
            &format!("daemon off; error_log stderr; pid {}/pid; events {{}}", site.dir.display()),
        )
        .replace("http {", &format!("http {{ access_log off; {}", temporary.collect::<String>()));
    site.write(FILE, &text)?;
    bench.process().signal(Signal::QUIT)?;
    until("nginx ends", || bench.process().ended().is_some()).await?;
    bench.restart().await?;
    streams::stream(bench, 1, 3).await?.collect().await?;
    bench.until_in_flight(0).await?;
    Ok("serves".to_owned())
}

/// Asked to end, nginx finishes what is under way.
async fn shutdown(bench: &mut Bench) -> Verdict {
    const STREAMS: u64 = 8;
    let mut answers: Vec<Incoming> = Vec::new();
    for number in 0..STREAMS {
        answers.push(streams::stream(bench, number, 30).await?);
    }
    bench.process().signal(Signal::QUIT)?;
    for answer in answers {
        let text = answer.collect().await?.to_bytes();
        demand(text.ends_with(b"data: [DONE]\n\n"), || "an answer broke off".to_owned())?;
    }
    until("nginx ends", || bench.process().ended().is_some()).await?;
    bench.restart().await?;
    Ok(format!("{STREAMS} answers finished"))
}

/// A process that dies takes its requests with it, and what was counted of them.
async fn process_killed(bench: &mut Bench) -> Verdict {
    for number in 0..8 {
        // The clients stay, in the background, until their connections break.
        let answer = streams::stream(bench, number, 2_000).await?;
        tokio::spawn(answer.collect());
    }
    let before = bench.process().children();
    for &child in &before {
        kill_process(child, Signal::KILL)?;
    }
    let processes = before.len();
    until("nginx starts new processes", || {
        let now = bench.process().children();
        now.len() == processes && now.iter().all(|child| !before.contains(child))
    })
    .await?;
    bench.until_in_flight(0).await?;
    let attempts = attempts(bench, 100).await?;
    Ok(format!("{processes} killed with 8 requests, then answered by {}", attempts.join(", ")))
}

/// Asks something new, over a connection of its own, which any of nginx's processes may take; the workers
/// that were tried, the one that answered last.
async fn attempts(bench: &mut Bench, number: u64) -> Result<Vec<String>, AnyError> {
    bench.client = client(Duration::from_secs(2));
    let answer = conversations::ask_anew(bench, number).await?;
    let named = answer.worker.ok_or("the answer names no worker")?;
    Ok(named.split(',').map(|worker| worker.trim().to_owned()).collect())
}

fn address(bench: &Bench, engine: usize) -> String {
    bench.site.engines[engine].to_string()
}

/// The sum of a metric over the lines that contain a label.
fn sum(status: &str, name: &str, label: &str) -> u64 {
    let lines = status.lines().filter(|line| line.starts_with(name) && line.contains(label));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}
