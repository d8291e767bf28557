//! Engines and a gateway on loopback, and ways to wait for what they do without sleeping.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use pointsman::{PolicyConfig, Role};
use serde_json::{Value, json};

use crate::engine::{Engine, EngineConfig};
use crate::http::{Client, call, client};
use crate::load::chat::Message;
use crate::load::client::{Answer, Failure, ask};
use crate::proxy::{Gateway, GatewayConfig};

/// Any free port of this machine.
pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Long enough that only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);

/// An engine whose answers take next to no time.
pub(crate) fn fast() -> EngineConfig {
    EngineConfig {
        prefill_rate: 1e7,
        overhead: Duration::ZERO,
        step: Duration::ZERO,
        step_per_sequence: Duration::ZERO,
        kv_capacity_tokens: 4_000_000,
        ..EngineConfig::default()
    }
}

/// An engine that never gets through its first prompt.
pub(crate) fn stuck() -> EngineConfig {
    EngineConfig { overhead: Duration::from_secs(100_000), ..fast() }
}

/// A gateway and its engines.
pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) engines: Vec<Engine>,
    pub(crate) client: Client,
}

impl Rig {
    /// A round-robin gateway that does not probe, over engines in these roles.
    pub(crate) async fn new(engines: &[(Role, EngineConfig)]) -> Rig {
        Rig::with(
            "round_robin",
            GatewayConfig { probe_interval: None, ..Default::default() },
            engines,
        )
        .await
    }

    pub(crate) async fn with(
        policy: &str,
        config: GatewayConfig,
        engines: &[(Role, EngineConfig)],
    ) -> Rig {
        let pairs = engines.iter().any(|(role, _)| *role != Role::Regular);
        let mut rig = Rig::with_pairs(policy, config, pairs).await;
        for (role, config) in engines {
            let engine = Engine::start(config.clone(), LOOPBACK).await.unwrap();
            rig.gateway.add_worker(&engine.url(), *role).await.unwrap();
            rig.engines.push(engine);
        }
        rig
    }

    /// A gateway without workers, for single workers or for pairs.
    pub(crate) async fn with_pairs(policy: &str, mut config: GatewayConfig, pairs: bool) -> Rig {
        config.router.policy = PolicyConfig::named(policy);
        config.pairs = pairs;
        let gateway = Gateway::start(config, LOOPBACK).await.unwrap();
        Rig { gateway, engines: Vec::new(), client: client(Duration::from_secs(5)) }
    }

    /// Asks by chat and reads the whole stream.
    pub(crate) async fn chat(&self, text: &str, tokens: usize) -> Result<Answer, Failure> {
        let messages = [Message { role: "user", content: text.to_owned() }];
        ask(&self.client, &self.gateway.url(), &messages, tokens).await
    }

    /// Begins a streamed chat and returns the body unread.
    pub(crate) async fn begin(&self, text: &str, tokens: usize) -> Incoming {
        stream(&self.client, &self.gateway.url(), text, tokens).await
    }

    /// Any small call to the gateway: status and JSON.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.gateway.url());
        let (status, text) = call(&self.client, method, &url, body.to_string()).await.unwrap();
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    pub(crate) async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.gateway.url());
        let (status, text) = call(&self.client, Method::GET, &url, "").await.unwrap();
        assert_eq!(status, 200);
        String::from_utf8(text.to_vec()).unwrap()
    }

    /// The number after the first sample that starts like this.
    pub(crate) async fn metric(&self, sample: &str) -> f64 {
        let text = self.metrics().await;
        let line = text.lines().find(|line| line.starts_with(sample));
        let line = line.unwrap_or_else(|| panic!("no sample {sample} in\n{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Requests in flight, over all workers.
    pub(crate) fn in_flight(&self) -> usize {
        self.gateway.router().workers().iter().map(|worker| worker.in_flight).sum()
    }

    /// Waits until every load has been given back.
    pub(crate) async fn idle(&self) {
        eventually("all load is given back", || self.in_flight() == 0).await;
    }
}

/// Begins a streamed chat at `target` and returns the body unread.
pub(crate) async fn stream(client: &Client, target: &str, text: &str, tokens: usize) -> Incoming {
    let response = client.request(chat_request(target, text, tokens)).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

pub(crate) fn chat_request(target: &str, text: &str, tokens: usize) -> Request<Full<Bytes>> {
    let body = json!({
        "messages": [{ "role": "user", "content": text }],
        "stream": true,
        "stream_options": { "include_usage": true },
        "max_tokens": tokens,
    });
    Request::post(format!("{target}/v1/chat/completions"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap()
}

/// The next piece of a body, as text; `None` at its end.
pub(crate) async fn next_piece(body: &mut Incoming) -> Option<Result<String, hyper::Error>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| String::from_utf8_lossy(frame.data_ref().unwrap()).into_owned()))
}

/// Waits for `condition` by asking again and again; panics when it never comes true.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < HANG, "waited in vain until {what}");
        tokio::task::yield_now().await;
    }
}
