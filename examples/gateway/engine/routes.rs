//! The engine's HTTP routes, and the streaming of tokens as server-sent events.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::{Value, json};

use super::EngineConfig;
use super::metrics;
use super::scheduler::{Scheduler, Sequence};
use super::transfer::Transfers;
use super::wire::{Api, ApiRequest, Counts, Envelope};

/// Prompts of a million tokens are legal; axum's default of 2 MB would refuse them.
const MAX_BODY: usize = 64 << 20;

pub(crate) struct App {
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) transfers: Transfers,
    started: f64,
    address: OnceLock<SocketAddr>,
    requests: AtomicU64,
}

impl App {
    pub(crate) fn new(config: EngineConfig) -> Arc<App> {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Arc::new(App {
            scheduler: Scheduler::new(config),
            transfers: Transfers::new(),
            started: started.as_secs_f64(),
            address: OnceLock::new(),
            requests: AtomicU64::new(0),
        })
    }

    /// Other engines fetch KV from this address.
    pub(crate) fn listens_on(&self, address: SocketAddr) {
        let _ = self.address.set(address);
    }
}

pub(crate) fn router(app: Arc<App>) -> axum::Router {
    axum::Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/messages", post(messages))
        .route("/v1/responses", post(responses))
        .route("/v1/models", get(models))
        .route("/health", get(|| async {}))
        .route("/flush_cache", post(flush_cache))
        .route("/metrics", get(metrics_text))
        .route("/kv_transfer/{id}", post(kv_transfer))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(app)
}

async fn chat(State(app): State<Arc<App>>, body: Bytes) -> Response {
    generate(app, Api::Chat, &body).await.unwrap_or_else(|refusal| refusal)
}

async fn completions(State(app): State<Arc<App>>, body: Bytes) -> Response {
    generate(app, Api::Completions, &body).await.unwrap_or_else(|refusal| refusal)
}

async fn messages(State(app): State<Arc<App>>, body: Bytes) -> Response {
    generate(app, Api::Messages, &body).await.unwrap_or_else(|refusal| refusal)
}

async fn responses(State(app): State<Arc<App>>, body: Bytes) -> Response {
    generate(app, Api::Responses, &body).await.unwrap_or_else(|refusal| refusal)
}

/// As SGLang does: only an idle engine lets its cache go.
async fn flush_cache(State(app): State<Arc<App>>) -> StatusCode {
    if app.scheduler.flush() { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    let model = &app.scheduler.config.model;
    Json(json!({ "object": "list", "data": [{ "id": model, "object": "model" }] }))
}

async fn metrics_text(State(app): State<Arc<App>>) -> Response {
    let text = metrics::render(&app.scheduler, app.started);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn kv_transfer(State(app): State<Arc<App>>, Path(id): Path<String>) -> StatusCode {
    if app.transfers.take(&id) { StatusCode::OK } else { StatusCode::NOT_FOUND }
}

async fn generate(app: Arc<App>, api: Api, body: &[u8]) -> Result<Response, Response> {
    let request: ApiRequest = serde_json::from_slice(body)
        .map_err(|error| refusal(StatusCode::BAD_REQUEST, &error.to_string()))?;
    let text = request
        .render(api)
        .map_err(|message| refusal(StatusCode::BAD_REQUEST, message))?
        .into_bytes();
    let config = &app.scheduler.config;
    let output = request.output_tokens(config.default_output);
    let model = if request.model.is_empty() { config.model.clone() } else { request.model.clone() };
    let seed = request.cache_seed(&model);
    let id = format!("cmpl-{}", app.requests.fetch_add(1, Relaxed));
    let envelope = Envelope { api, id, model };
    let params = request.kv_transfer_params.as_ref();

    let admitted = match params {
        Some(params) if params.do_remote_prefill => {
            app.transfers.fetch(params).await.map_err(|error| {
                refusal(StatusCode::INTERNAL_SERVER_ERROR, &format!("KV transfer: {error}"))
            })?;
            app.scheduler.receive(seed, text, output).await
        }
        _ => app.scheduler.prefill(seed, text, output).await,
    };
    let sequence = admitted.map_err(|_| {
        refusal(StatusCode::BAD_REQUEST, "prompt and output exceed the engine's KV memory")
    })?;
    if params.is_some_and(|params| params.do_remote_decode) {
        Ok(hand_over(&app, &envelope, sequence).await)
    } else if request.stream {
        Ok(stream_tokens(envelope, sequence, output, request.wants_usage()))
    } else {
        Ok(whole(&envelope, sequence, output).await)
    }
}

/// Computes one token and keeps the prompt's blocks for the engine that decodes.
async fn hand_over(app: &App, envelope: &Envelope, mut sequence: Sequence) -> Response {
    let token = sequence.next_token().await;
    let counts = counts(&sequence);
    let (host, port) = app
        .address
        .get()
        .map_or_else(Default::default, |address| (address.ip().to_string(), address.port()));
    let params = app.transfers.hold(&envelope.id, sequence, &host, port);
    Json(envelope.whole(&token, counts, Some(params))).into_response()
}

async fn whole(envelope: &Envelope, mut sequence: Sequence, output: usize) -> Response {
    let mut text = String::new();
    for _ in 0..output {
        text.push_str(&sequence.next_token().await);
    }
    sequence.finish();
    Json(envelope.whole(&text, counts(&sequence), None)).into_response()
}

/// One event per token. A client that goes away drops the stream, and with it the sequence.
fn stream_tokens(envelope: Envelope, sequence: Sequence, output: usize, usage: bool) -> Response {
    let state = Some((envelope, sequence, String::new()));
    let events = stream::unfold(state, move |state| async move {
        let (envelope, mut sequence, mut text) = state?;
        let first = sequence.produced == 0;
        let token = sequence.next_token().await;
        let last = sequence.produced == output;
        let mut event = if first { envelope.opening(counts(&sequence)) } else { String::new() };
        event.push_str(&envelope.token(&token, first, last));
        text.push_str(&token);
        if !last {
            return Some((Ok::<_, Infallible>(event), Some((envelope, sequence, text))));
        }
        sequence.finish();
        event.push_str(&envelope.closing(&text, counts(&sequence), usage));
        Some((Ok(event), None))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

fn counts(sequence: &Sequence) -> Counts {
    Counts {
        prompt: sequence.prompt_tokens,
        cached: sequence.cached_tokens,
        output: sequence.produced,
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    let body = json!({ "error": { "message": message, "code": status.as_u16() } });
    (status, Json(body)).into_response()
}
