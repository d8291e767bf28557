//! What both sides of the wire share: an HTTP/1.1 server that can be stopped gently or killed, and a
//! pooled client.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Any failure, for callers that only report it.
pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// The error and what it was caused by, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Header in which the gateway names the worker that served a request.
pub(crate) const WORKER_HEADER: &str = "x-pointsman-worker";

/// How long an unused connection is kept: less than the 5 s after which vLLM and SGLang close theirs.
const IDLE: Duration = Duration::from_secs(4);

/// A client that keeps connections to every worker open between requests.
pub(crate) type Client = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;

/// A client whose connection attempts give up after `connect_timeout`.
pub(crate) fn client(connect_timeout: Duration) -> Client {
    client_keeping(usize::MAX, connect_timeout)
}

/// A client that keeps so many idle connections to a server at most.
pub(crate) fn client_keeping(idle: usize, connect_timeout: Duration) -> Client {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect_timeout));
    hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(idle)
        .build(connector)
}

/// Sends a small request and collects the whole answer: status and body.
pub(crate) async fn call(
    client: &Client,
    method: Method,
    url: &str,
    body: impl Into<Bytes>,
) -> Result<(u16, Bytes), AnyError> {
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/json")
        .body(Full::new(body.into()))?;
    let response: Response<Incoming> = client.request(request).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// A base URL without its trailing slash. This example speaks plain HTTP only.
pub(crate) fn worker_url(text: &str) -> Result<String, AnyError> {
    let url = text.trim_end_matches('/');
    let uri: axum::http::Uri = url.parse()?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(url.to_owned()),
        (Some("https"), _) => Err("this example speaks plain http:// only".into()),
        _ => Err("expected http://host:port".into()),
    }
}

/// A listening server. Dropping it kills it.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<Duration>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on `address` (port 0 = any free one) and serves `app` until stopped.
    pub(crate) async fn bind(address: SocketAddr, app: axum::Router) -> std::io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, app, stopped));
        Ok(Server { address, stop: Some(stop), task })
    }

    /// The address that the server really listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, gives the requests in flight up to `grace` to end, drops the rest.
    pub(crate) async fn shutdown(mut self, grace: Duration) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(grace);
            let _ = (&mut self.task).await;
        }
    }

    /// Stops at once, as a crashed process would: the port is closed, connections are dropped.
    pub(crate) async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, app: axum::Router, mut stop: oneshot::Receiver<Duration>) {
    let graceful = GracefulShutdown::new();
    // Dropped with this task, and with it every connection: that is what makes a kill a kill.
    let mut connections = JoinSet::new();
    let grace = loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let service = TowerToHyperService::new(app.clone());
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                // An error here is the peer's disconnect; the handler sees its body dropped.
                connections.spawn(graceful.watch(connection));
            }
            Some(_) = connections.join_next() => {}
            grace = &mut stop => break grace.unwrap_or_default(),
        }
    };
    drop(listener);
    let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
}
