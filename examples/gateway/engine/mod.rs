//! A simulated inference engine: a real HTTP/1.1 server with the OpenAI API in front of a queue, a
//! prefix cache and a decode loop that only pass time.
//!
//! Routes: `POST /v1/chat/completions`, `/v1/completions`, `/v1/messages`, `/v1/responses`, `/flush_cache`,
//! `GET /v1/models`, `/health`, `/metrics`, and `POST /kv_transfer/{id}`, by which a decode engine fetches what a
//! prefill engine computed.

mod cache;
mod dialect;
mod metrics;
mod routes;
mod scheduler;
mod transfer;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::http::Server;

/// Speed and size of one engine.
#[derive(Clone, Debug)]
pub(crate) struct EngineConfig {
    /// Model name in answers and metrics.
    pub(crate) model: String,
    /// Prompt tokens computed per second, one prompt at a time.
    pub(crate) prefill_rate: f64,
    /// KV tokens received per second from a prefill engine.
    pub(crate) transfer_rate: f64,
    /// Fixed time per prefill.
    pub(crate) overhead: Duration,
    /// Time of one decode step ...
    pub(crate) step: Duration,
    /// ... plus this for every running sequence.
    pub(crate) step_per_sequence: Duration,
    /// Sequences that may run at once; more of them wait.
    pub(crate) max_sequences: usize,
    /// KV memory, for running sequences and cached prefixes together.
    pub(crate) kv_capacity_tokens: usize,
    /// Tokens per KV block.
    pub(crate) block_tokens: usize,
    /// Output length when a request does not say.
    pub(crate) default_output: usize,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            model: "sim".to_owned(),
            prefill_rate: 20_000.0,
            transfer_rate: 500_000.0,
            overhead: Duration::from_millis(10),
            step: Duration::from_millis(8),
            step_per_sequence: Duration::from_micros(250),
            max_sequences: 256,
            kv_capacity_tokens: 64_000,
            block_tokens: 16,
            default_output: 32,
        }
    }
}

/// What an engine did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EngineStats {
    /// Sequences running now, prefill included.
    pub(crate) running: usize,
    /// Requests waiting for their prefill.
    pub(crate) waiting: usize,
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
    /// Requests that ended with their whole output.
    pub(crate) succeeded: u64,
    /// Requests that the peer gave up.
    pub(crate) cancelled: u64,
    /// Prompts computed for other engines and not fetched yet.
    pub(crate) held: usize,
}

/// A running engine. Dropping it kills it.
pub(crate) struct Engine {
    config: EngineConfig,
    address: SocketAddr,
    app: Arc<routes::App>,
    server: Option<Server>,
}

impl Engine {
    /// Starts an engine on `address` (port 0 = any free one).
    pub(crate) async fn start(
        config: EngineConfig,
        address: SocketAddr,
    ) -> std::io::Result<Engine> {
        let app = routes::App::new(config.clone());
        let server = Server::bind(address, routes::router(app.clone())).await?;
        let address = server.address();
        app.listens_on(address);
        Ok(Engine { config, address, app, server: Some(server) })
    }

    /// The base URL, without a trailing slash.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn stats(&self) -> EngineStats {
        let counters = &self.app.scheduler.counters;
        EngineStats {
            running: counters.running.load(Relaxed),
            waiting: counters.waiting.load(Relaxed),
            prompt_tokens: counters.prompt_tokens.load(Relaxed),
            cached_tokens: counters.cached_tokens.load(Relaxed),
            succeeded: counters.succeeded.load(Relaxed),
            cancelled: counters.cancelled.load(Relaxed),
            held: self.app.transfers.held(),
        }
    }

    /// Dies as a crashed process does: the port is closed, every connection is dropped, the cache is gone.
    pub(crate) async fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill().await;
        }
    }

    /// Comes back on the same port with an empty cache.
    pub(crate) async fn restart(&mut self) -> std::io::Result<()> {
        self.kill().await;
        *self = Engine::start(self.config.clone(), self.address).await?;
        Ok(())
    }

    /// Stops accepting and lets the requests in flight end.
    pub(crate) async fn shutdown(mut self, grace: Duration) {
        if let Some(server) = self.server.take() {
            server.shutdown(grace).await;
        }
    }
}
