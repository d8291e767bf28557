//! One request to one worker, up to the first byte of its answer: until then it can be repeated elsewhere.

use std::error::Error;
use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode, header, request::Parts};
use axum::response::IntoResponse;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::{Body, Frame, Incoming};
use pointsman::Outcome;
use serde_json::json;

use crate::http::{AnyError, Client, client_keeping, with_causes};

/// How long a connection to a worker may take.
const CONNECT: Duration = Duration::from_secs(2);
/// What a client is told to wait, in seconds, where nobody knows better.
const PAUSE: u32 = 1;

/// The connections to all workers.
pub(crate) struct Workers {
    /// Keeps connections between requests.
    keeping: Client,
    /// Opens one for each request.
    fresh: Client,
}

impl Default for Workers {
    fn default() -> Workers {
        let [keeping, fresh] = [usize::MAX, 0].map(|idle| client_keeping(idle, CONNECT));
        Workers { keeping, fresh }
    }
}

impl Workers {
    /// The client of probes and other small calls.
    pub(crate) fn keeping(&self) -> &Client {
        &self.keeping
    }

    /// Sends a request. A kept connection may be closed by the worker just as the request arrives, which is no
    /// failure of the worker: what ends without an answer is sent once more over a connection of its own.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, AnyError> {
        let again = request.clone();
        match self.keeping.request(request).await {
            Err(error) if !error.is_connect() && closed_without_answer(&error) => {
                Ok(self.fresh.request(again).await?)
            }
            answer => Ok(answer?),
        }
    }
}

fn closed_without_answer(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let closed = |error: &(dyn Error + 'static)| {
        let hyper = error.downcast_ref::<hyper::Error>();
        let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
        hyper.is_some_and(|it| it.is_incomplete_message() || it.is_closed() || it.is_canceled())
            || matches!(io, Some(BrokenPipe | ConnectionAborted | ConnectionReset))
    };
    std::iter::successors(Some(error), |&error| error.source()).any(closed)
}

/// What the client asked, apart from the body.
pub(crate) struct Inbound {
    method: Method,
    path: String,
    headers: HeaderMap,
}

/// An answer whose first bytes are here.
pub(crate) struct Begun {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) first: Option<Frame<Bytes>>,
    pub(crate) rest: Incoming,
}

/// A worker that did not begin an answer, and what to tell the client if no other does.
pub(crate) struct Failed {
    pub(crate) outcome: Outcome,
    pub(crate) response: Response<axum::body::Body>,
}

impl Inbound {
    pub(crate) fn new(parts: Parts) -> Inbound {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut headers = parts.headers;
        strip_hop_by_hop(&mut headers);
        // Set anew for the worker and the body that it really gets.
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        Inbound { method: parts.method, path, headers }
    }

    /// What the engine generates an answer by, if the path is one of those.
    pub(crate) fn generates(&self) -> bool {
        const PATHS: [&str; 5] = [
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/messages",
            "/v1/responses",
            "/generate",
        ];
        self.method == Method::POST && PATHS.contains(&self.bare_path())
    }

    /// The path without its query string.
    pub(crate) fn bare_path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Sends `body` to the worker at `url` and waits for the first byte of the answer.
    pub(crate) async fn begin(
        &self,
        workers: &Workers,
        url: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Begun, Failed> {
        match tokio::time::timeout(timeout, self.exchange(workers, url, body)).await {
            Ok(Ok(begun)) if is_failure(begun.status) => Err(Failed::answered(begun).await),
            Ok(Ok(begun)) => Ok(begun),
            Ok(Err(error)) => Err(Failed::unreachable(url, error)),
            Err(_) => Err(Failed::too_late(url)),
        }
    }

    async fn exchange(&self, workers: &Workers, url: &str, body: Bytes) -> Result<Begun, AnyError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("{}{}", url.trim_end_matches('/'), self.path))
            .body(Full::new(body))?;
        *request.headers_mut() = self.headers.clone();
        let (parts, mut rest) = workers.send(request).await?.into_parts();
        // Engines send their headers before they have computed anything: the first token is what counts.
        let first = if rest.is_end_stream() { None } else { rest.frame().await.transpose()? };
        let mut headers = parts.headers;
        strip_hop_by_hop(&mut headers);
        Ok(Begun { status: parts.status, headers, first, rest })
    }
}

impl Begun {
    /// Whether the worker says that the request is wrong.
    pub(crate) fn is_refused(&self) -> bool {
        self.status.is_client_error()
    }

    /// The whole answer, for those that are not streamed on.
    pub(crate) async fn collect(self) -> Result<Bytes, AnyError> {
        let mut all = Vec::new();
        if let Some(data) = self.first.as_ref().and_then(Frame::data_ref) {
            all.extend_from_slice(data);
        }
        all.extend_from_slice(&self.rest.collect().await?.to_bytes());
        Ok(all.into())
    }
}

impl Failed {
    /// A connection that was refused or broke off.
    pub(crate) fn unreachable(url: &str, error: AnyError) -> Failed {
        let message = format!("worker {url}: {}", with_causes(&*error));
        Failed {
            outcome: Outcome::WorkerError,
            response: problem(StatusCode::BAD_GATEWAY, &message),
        }
    }

    fn too_late(url: &str) -> Failed {
        let message = format!("worker {url} did not begin to answer in time");
        Failed {
            outcome: Outcome::Timeout,
            response: problem(StatusCode::GATEWAY_TIMEOUT, &message),
        }
    }

    /// The worker's own failure goes to the client as it is; one that can be waited for says how long.
    async fn answered(begun: Begun) -> Failed {
        let (status, mut headers) = (begun.status, begun.headers.clone());
        let pause = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let pause = pause.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        let outcome = Outcome::from_http_status(status.as_u16(), pause);
        if pause.is_none() && can_wait(status) {
            headers.insert(header::RETRY_AFTER, PAUSE.into());
        }
        let body = begun.collect().await.unwrap_or_default();
        // Set anew for what has come of the body.
        headers.remove(header::CONTENT_LENGTH);
        Failed { outcome, response: (status, headers, body).into_response() }
    }
}

/// An error in a shape that clients of OpenAI's APIs and of Anthropic's Messages read.
pub(crate) fn problem(status: StatusCode, message: &str) -> Response<axum::body::Body> {
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        StatusCode::NOT_FOUND => "not_found_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "api_error",
    };
    let error = json!({ "type": kind, "message": message, "code": status.as_u16() });
    let body = json!({ "type": "error", "error": error });
    let mut response = (status, Json(body)).into_response();
    if can_wait(status) {
        response.headers_mut().insert(header::RETRY_AFTER, PAUSE.into());
    }
    response
}

fn can_wait(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Statuses that another worker may not give. Other 4xx are the client's doing.
fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    const HOP_BY_HOP: [HeaderName; 6] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
    ];
    HOP_BY_HOP.iter().for_each(|name| {
        headers.remove(name);
    });
    headers.remove("keep-alive");
}
