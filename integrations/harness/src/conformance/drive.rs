//! Sends a sequence through a router, one request after the other, and sees where each arrives.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::Method;
use axum::routing::{get, post};
use axum::{Json, Router as App};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::http::{AnyError, Client, Server, call, client};
use crate::ports;
use crate::process::Process;
use crate::routers::{Reader, Router};
use crate::sequence::{Sequence, Step};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request that has arrived at a worker, which answers when told to.
struct Arrival {
    worker: usize,
    answer: oneshot::Sender<()>,
}

/// A request under way.
struct Held {
    answer: oneshot::Sender<()>,
    client: JoinHandle<Result<(), AnyError>>,
}

/// One router and its workers.
struct Bench {
    client: Client,
    url: String,
    reader: Reader,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    process: Process,
    log: PathBuf,
    _workers: Vec<Server>,
}

/// Which worker each request of the sequence went to.
pub(crate) async fn choices(
    router: Router,
    sequence: &Sequence,
    workers: usize,
) -> Result<Vec<usize>, AnyError> {
    let mut bench = Bench::start(router, workers).await?;
    let chosen = bench.run(sequence, workers).await;
    let chosen = chosen.map_err(|error| format!("{error}\n{}", bench.process.printed()))?;
    bench.process.stop(Duration::from_secs(2)).await;
    std::fs::remove_file(bench.log)?;
    Ok(chosen)
}

impl Bench {
    async fn start(router: Router, workers: usize) -> Result<Bench, AnyError> {
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let (mut servers, mut urls) = (Vec::new(), Vec::new());
        for worker in 0..workers {
            let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
            servers.push(Server::bind(address, dummy(worker, arrived.clone())).await?);
            urls.push(format!("http://{address}"));
        }
        let (port, other) = (ports::free()?, ports::free()?);
        let (command, reader) = router.command(port, other, &urls);
        let log = std::env::temp_dir().join(format!("pointsman-conformance-{port}.log"));
        let process = Process::start(command, &log)?;
        let (client, url) = (client(Duration::from_secs(2)), format!("http://127.0.0.1:{port}"));
        Ok(Bench { client, url, reader, arrivals, process, log, _workers: servers })
    }

    async fn run(&mut self, sequence: &Sequence, workers: usize) -> Result<Vec<usize>, AnyError> {
        self.settle(workers, 0).await?;
        let (mut chosen, mut held) = (Vec::new(), Vec::<Held>::new());
        for step in &sequence.steps {
            match step {
                Step::Ask { prompt, hold, .. } => {
                    let (worker, request) = self.ask(prompt).await?;
                    chosen.push(worker);
                    if *hold {
                        held.push(request);
                    } else {
                        request.end().await?;
                    }
                }
                Step::End(number) => held.remove(*number).end().await?,
            }
            self.settle(workers, held.len() as u64).await?;
        }
        for request in held {
            request.end().await?;
        }
        Ok(chosen)
    }

    /// Sends a prompt and waits until it has arrived somewhere.
    async fn ask(&mut self, prompt: &str) -> Result<(usize, Held), AnyError> {
        let body = json!({ "model": "m", "prompt": prompt, "max_tokens": 1 }).to_string();
        let (client, url) = (self.client.clone(), format!("{}/v1/completions", self.url));
        let client = tokio::spawn(async move {
            match call(&client, Method::POST, &url, body).await? {
                (200, _) => Ok(()),
                (status, text) => Err(format!("answered {status}: {text:?}").into()),
            }
        });
        let arrival = tokio::time::timeout(PATIENCE, self.arrivals.recv()).await;
        let Ok(Some(Arrival { worker, answer })) = arrival else {
            return Err("the request arrived nowhere".into());
        };
        Ok((worker, Held { answer, client }))
    }

    /// Waits until the router knows its workers and has noticed what ended.
    async fn settle(&self, workers: usize, in_flight: u64) -> Result<(), AnyError> {
        let url = format!("{}/workers", self.url);
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < PATIENCE {
            if let Ok((200, text)) = call(&self.client, Method::GET, &url, "").await {
                last = self.reader.standing(&text);
                if last == Some((workers, in_flight)) {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(format!("workers and requests in flight are {last:?}, not {workers} and {in_flight}")
            .into())
    }
}

impl Held {
    async fn end(self) -> Result<(), AnyError> {
        let _ = self.answer.send(());
        self.client.await?
    }
}

/// A worker that answers when it is told to, and says what sglang-router asks at registration.
fn dummy(worker: usize, arrived: mpsc::UnboundedSender<Arrival>) -> App {
    let nothing = || async { Json(json!({})) };
    App::new()
        .route("/v1/completions", post(complete))
        .route("/health", get(nothing))
        .route("/model_info", get(nothing))
        .route("/server_info", get(nothing))
        .with_state((worker, arrived))
}

async fn complete(
    State((worker, arrived)): State<(usize, mpsc::UnboundedSender<Arrival>)>,
    Json(body): Json<Value>,
) -> Json<Value> {
    let (answer, told) = oneshot::channel();
    let _ = arrived.send(Arrival { worker, answer });
    let _ = told.await;
    // pointsman learns from it how many bytes make a token.
    let tokens = body["prompt"].as_str().map_or(0, str::len) / 4;
    let choice = json!({ "index": 0, "text": "x", "finish_reason": "length" });
    Json(json!({
        "id": "x", "object": "text_completion", "created": 1, "model": "m", "choices": [choice],
        "usage": { "prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1 },
    }))
}
