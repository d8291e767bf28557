//! A small router written against the original proposal's trait, in both modes: whole requests to one
//! engine, or the prompt to a prefill engine and the answer to a decode engine.
//!
//! Everything between the two lines below knows `RoutingPolicy`, `Worker` and `serde_json::Value`, and
//! nothing else of this crate. The rest simulates engines and users, and prints a table.
//!
//! Run it with `cargo run --release --features async --example proposal`. It takes a few seconds.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pointsman::adapter::{Adapter, RoutingPolicy};
use pointsman::{PolicyConfig, RoutingError, Worker};
use serde_json::{Value, json};
use tokio::sync::Mutex;

// ------------------------------------------------------------------------ the router, as proposed

/// The router's own worker type.
#[derive(Debug)]
struct HttpWorker {
    url: String,
    healthy: AtomicBool,
    load: AtomicUsize,
}

impl Worker for HttpWorker {
    fn url(&self) -> &str {
        &self.url
    }

    fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    fn load(&self) -> &AtomicUsize {
        &self.load
    }
}

enum Mode {
    Regular(Vec<Arc<dyn Worker>>),
    Disaggregated { prefill: Vec<Arc<dyn Worker>>, decode: Vec<Arc<dyn Worker>> },
}

struct Router {
    policy: Arc<dyn RoutingPolicy>,
    mode: Mode,
    network: Network,
}

impl Router {
    /// Serves one request; what its user sees of it.
    async fn route(&self, request: &Value) -> Result<Answer, RoutingError> {
        match &self.mode {
            Mode::Regular(workers) => {
                let worker = self.policy.select_single(workers, request).await?;
                let answer = self.network.generate(worker.url(), worker.url(), request).await;
                self.policy.on_request_complete(worker.url(), true);
                Ok(answer)
            }
            Mode::Disaggregated { prefill, decode } => {
                let (p, d) = self.policy.select_pair(prefill, decode, request).await?;
                let answer = self.network.generate(p.url(), d.url(), request).await;
                self.policy.on_request_complete(p.url(), true);
                self.policy.on_request_complete(d.url(), true);
                Ok(answer)
            }
        }
    }
}

// ------------------------------------------------------------------------------ engines and users

/// Prompt tokens that an engine computes per second.
const PREFILL_RATE: f64 = 150_000.0;
/// Conversations that an engine's cache holds.
const CACHED_CONVERSATIONS: usize = 10;
const ANSWER_TIME: Duration = Duration::from_millis(4);
const CONVERSATIONS: usize = 30;
const TURNS: usize = 8;
const WORDS_PER_TURN: usize = 300;
/// Milliseconds between turns: uneven, so that users do not march in step.
const THINKING: [u64; 11] = [3, 17, 8, 0, 25, 11, 5, 30, 2, 14, 21];

/// The engines, by URL.
struct Network(HashMap<String, Engine>);

/// Computes one prompt at a time; remembers the conversations it computed last.
#[derive(Default)]
struct Engine {
    requests: AtomicUsize,
    /// Conversations and their tokens, the one used last at the end.
    cache: Mutex<Vec<(u64, usize)>>,
}

#[derive(Clone, Copy)]
struct Answer {
    first_token: Duration,
    tokens: usize,
    cached: usize,
}

impl Network {
    async fn generate(&self, prefill: &str, decode: &str, request: &Value) -> Answer {
        let arrived = Instant::now();
        let (tokens, cached) = self.0[prefill].prefill(request).await;
        let first_token = arrived.elapsed();
        if prefill != decode {
            self.0[decode].requests.fetch_add(1, Relaxed);
        }
        tokio::time::sleep(ANSWER_TIME).await;
        Answer { first_token, tokens, cached }
    }
}

impl Engine {
    /// Tokens of the prompt, and how many of them were cached.
    async fn prefill(&self, request: &Value) -> (usize, usize) {
        self.requests.fetch_add(1, Relaxed);
        let conversation = request["user"].as_u64().unwrap_or(0);
        let tokens = request["messages"].as_array().map_or(0, Vec::len) * WORDS_PER_TURN;
        let mut cache = self.cache.lock().await;
        let place = cache.iter().position(|&(held, _)| held == conversation);
        let cached = place.map_or(0, |place| cache.remove(place).1).min(tokens);
        let seconds = (tokens - cached) as f64 / PREFILL_RATE;
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        cache.push((conversation, tokens));
        if cache.len() > CACHED_CONVERSATIONS {
            cache.remove(0);
        }
        (tokens, cached)
    }
}

/// One user: each turn sends the whole conversation so far.
async fn converse(router: Arc<Router>, user: usize) -> Result<Vec<Answer>, RoutingError> {
    let mut messages = Vec::new();
    let mut answers = Vec::new();
    for turn in 0..TURNS {
        let text = format!("user {user} asks {turn} ").repeat(WORDS_PER_TURN / 4);
        messages.push(json!({"role": "user", "content": text}));
        let request = json!({"model": "m", "user": user, "messages": messages});
        tokio::time::sleep(Duration::from_millis(THINKING[(user * 7 + turn * 5) % 11])).await;
        answers.push(router.route(&request).await?);
        messages
            .push(json!({"role": "assistant", "content": "I see. ".repeat(WORDS_PER_TURN / 2)}));
    }
    Ok(answers)
}

fn workers(role: &str, n: usize) -> Vec<Arc<dyn Worker>> {
    let worker = |i| HttpWorker {
        url: format!("http://{role}-{i}:8000"),
        healthy: AtomicBool::new(true),
        load: AtomicUsize::new(0),
    };
    (0..n).map(|i| Arc::new(worker(i)) as Arc<dyn Worker>).collect()
}

impl Mode {
    fn workers(&self) -> Vec<&Arc<dyn Worker>> {
        match self {
            Mode::Regular(workers) => workers.iter().collect(),
            Mode::Disaggregated { prefill, decode } => prefill.iter().chain(decode).collect(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Mode::Regular(_) => "regular",
            Mode::Disaggregated { .. } => "prefill/decode",
        }
    }
}

async fn run(policy: &str, mode: Mode) -> Result<(), Box<dyn Error>> {
    let urls = mode.workers().into_iter().map(|worker| worker.url().to_owned());
    let network = Network(urls.map(|url| (url, Engine::default())).collect());
    let policy = Arc::new(Adapter::from_config(&PolicyConfig::named(policy))?);
    let router = Arc::new(Router { policy, mode, network });

    let users: Vec<_> =
        (0..CONVERSATIONS).map(|user| tokio::spawn(converse(Arc::clone(&router), user))).collect();
    let mut answers = Vec::new();
    for user in users {
        answers.extend(user.await??);
    }
    report(&router, answers);
    Ok(())
}

fn report(router: &Router, mut answers: Vec<Answer>) {
    answers.sort_by_key(|answer| answer.first_token);
    let millis = |share: f64| {
        let answer = answers[((answers.len() - 1) as f64 * share) as usize];
        answer.first_token.as_secs_f64() * 1e3
    };
    let tokens: usize = answers.iter().map(|answer| answer.tokens).sum();
    let cached: usize = answers.iter().map(|answer| answer.cached).sum();
    let counts = || router.network.0.values().map(|engine| engine.requests.load(Relaxed));
    let load: usize = router.mode.workers().iter().map(|worker| worker.load().load(Relaxed)).sum();
    println!(
        "{:<13} {:<15} {:>8} {:>8.1}% {:>9.1} {:>9.1} {:>6}..{:<6} {:>6}",
        router.policy.name(),
        router.mode.name(),
        answers.len(),
        100.0 * cached as f64 / tokens as f64,
        millis(0.5),
        millis(0.95),
        counts().min().unwrap_or(0),
        counts().max().unwrap_or(0),
        load,
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:<13} {:<15} {:>8} {:>9} {:>9} {:>9} {:>14} {:>6}",
        "policy", "mode", "requests", "cached", "p50 ms", "p95 ms", "per engine", "left"
    );
    for policy in ["random", "round_robin", "power_of_two", "cache_aware"] {
        run(policy, Mode::Regular(workers("engine", 6))).await?;
        let (prefill, decode) = (workers("prefill", 4), workers("decode", 2));
        run(policy, Mode::Disaggregated { prefill, decode }).await?;
    }
    println!("\nms: time to the first token. left: load that was not given back.");
    Ok(())
}
