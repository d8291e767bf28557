//! The gateway: an HTTP front that asks a [`Router`] where each request should go.
//!
//! | file | job |
//! |---|---|
//! | `forward` | regular requests: choose, send, retry once |
//! | `pair` | the same for a prefill and a decode worker |
//! | `refusals` | workers that refuse what others take |
//! | `exchange` | one request to one worker, up to its first byte |
//! | `relay` | the answer passing through; load given back at its end |
//! | `usage` | token counts read from the answer |
//! | `prompt` | what the router is shown of a request |
//! | `probe` | health and load reports |
//! | `scrape` | an engine's `/metrics` read |
//! | `admin` | `/workers`, `/policy`, `/metrics`, `/health`, `/flush_cache` |
//! | `metrics` | the gateway's own figures |

mod admin;
mod exchange;
mod forward;
mod metrics;
mod pair;
mod probe;
mod prompt;
mod refusals;
mod relay;
pub(crate) mod scrape;
pub(crate) mod usage;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::routing::{any, get, patch, post, put};
use pointsman::{HostHealth, Role, Router, RouterConfig, WorkerId, WorkerSpec};
use tokio::task::JoinHandle;

use self::exchange::Workers;
use self::metrics::Metrics;
pub(crate) use self::prompt::PromptSource;
use self::refusals::Refusals;
use crate::http::{AnyError, Server};

/// The settings of a gateway.
#[derive(Clone, Debug)]
pub(crate) struct GatewayConfig {
    pub(crate) router: RouterConfig,
    pub(crate) prompt: PromptSource,
    /// Whether requests are served by a prefill and a decode worker.
    pub(crate) pairs: bool,
    /// Time between two probes of a worker; `None` = the host of this gateway does not probe.
    pub(crate) probe_interval: Option<Duration>,
    /// A worker that has not begun to answer by then has failed.
    pub(crate) first_byte_timeout: Duration,
    pub(crate) max_body_bytes: usize,
}

impl Default for GatewayConfig {
    fn default() -> GatewayConfig {
        GatewayConfig {
            router: RouterConfig::default(),
            prompt: PromptSource::default(),
            pairs: false,
            probe_interval: Some(Duration::from_secs(1)),
            first_byte_timeout: Duration::from_secs(300),
            max_body_bytes: 64 << 20,
        }
    }
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) router: Router,
    pub(crate) metrics: Arc<Metrics>,
    workers: Workers,
    refusals: Refusals,
    config: GatewayConfig,
    /// When the router was made: its clock counts from there.
    started: Instant,
}

/// A running gateway. Dropping it kills it.
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: Option<Server>,
    probes: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Serves on `address` (port 0 = any free one), without workers at first.
    pub(crate) async fn start(
        config: GatewayConfig,
        address: SocketAddr,
    ) -> Result<Gateway, AnyError> {
        let shared = Arc::new(Shared {
            router: Router::new(config.router.clone())?,
            metrics: Arc::default(),
            workers: Workers::default(),
            refusals: Refusals::default(),
            started: Instant::now(),
            config,
        });
        let server = Server::bind(address, routes(shared.clone()))
            .await
            .map_err(|error| format!("cannot listen on {address}: {error}"))?;
        let interval = shared.config.probe_interval;
        let probes = interval.map(|interval| tokio::spawn(probe::run(shared.clone(), interval)));
        Ok(Gateway { shared, address: server.address(), server: Some(server), probes })
    }

    /// Registers a worker; its KV capacity is asked for, as it decides what the router believes cached.
    pub(crate) async fn add_worker(&self, url: &str, role: Role) -> Result<WorkerId, AnyError> {
        self.shared.add_worker(WorkerSpec::new(url).role(role), url, None).await
    }

    pub(crate) fn router(&self) -> &Router {
        &self.shared.router
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting and gives the requests in flight up to `grace` to end.
    pub(crate) async fn shutdown(mut self, grace: Duration) {
        let server = self.server.take();
        if let Some(server) = server {
            server.shutdown(grace).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(probes) = &self.probes {
            probes.abort();
        }
    }
}

impl Shared {
    /// Registers a worker whose KV capacity is `known`, or what its metrics say. One that does not answer yet gets
    /// nothing until a probe finds it up; without probes it is left to the outcomes of requests.
    async fn add_worker(
        &self,
        mut spec: WorkerSpec,
        url: &str,
        known: Option<u64>,
    ) -> Result<WorkerId, AnyError> {
        let found = probe::ask_once(self, url).await;
        let capacity = known.or(found.as_ref().and_then(|scrape| scrape.kv_total_tokens));
        if let Some(tokens) = capacity {
            spec = spec.kv_capacity_tokens(tokens);
        }
        let id = self.router.add_worker(spec)?;
        if found.is_none() && self.config.probe_interval.is_some() {
            self.router.set_health(id, HostHealth::Unhealthy)?;
        }
        Ok(id)
    }
}

/// What the engines serve beside `/v1`: vLLM's and SGLang's.
const ENGINES: [&str; 12] = [
    "/generate",
    "/score",
    "/pooling",
    "/classify",
    "/rerank",
    "/embeddings",
    "/encode",
    "/tokenize",
    "/detokenize",
    "/version",
    "/get_model_info",
    "/server_info",
];

fn routes(shared: Arc<Shared>) -> axum::Router {
    let mut routes = axum::Router::new().route("/v1/{*path}", any(forward::forward));
    for path in ENGINES {
        routes = routes.route(path, any(forward::forward));
    }
    routes
        .route("/flush_cache", post(admin::flush_cache).get(admin::flush_cache))
        .route("/health", get(admin::health))
        .route("/readiness", get(admin::health))
        .route("/liveness", get(|| async {}))
        .route("/metrics", get(admin::metrics))
        .route("/policy", put(admin::set_policy))
        .route("/workers", get(admin::list).post(admin::add))
        .route("/workers/{id}", patch(admin::change).delete(admin::remove))
        .with_state(shared)
}
