//! One request to one worker, up to the first byte of its answer: until then it can be repeated elsewhere.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use pointsman::Outcome;
use serde_json::json;

use crate::http::{AnyError, Client, with_causes};

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
    pub(crate) response: Response,
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

    /// Sends `body` to the worker at `url` and waits for the first byte of the answer.
    pub(crate) async fn begin(
        &self,
        client: &Client,
        url: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Begun, Failed> {
        match tokio::time::timeout(timeout, self.exchange(client, url, body)).await {
            Ok(Ok(begun)) if is_failure(begun.status) => Err(Failed::answered(begun).await),
            Ok(Ok(begun)) => Ok(begun),
            Ok(Err(error)) => Err(Failed::unreachable(url, error)),
            Err(_) => Err(Failed::too_late(url)),
        }
    }

    async fn exchange(&self, client: &Client, url: &str, body: Bytes) -> Result<Begun, AnyError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("{}{}", url.trim_end_matches('/'), self.path))
            .body(Full::new(body))?;
        *request.headers_mut() = self.headers.clone();
        let (parts, mut rest) = client.request(request).await?.into_parts();
        // Engines send their headers before they have computed anything: the first token is what counts.
        let first = if rest.is_end_stream() { None } else { rest.frame().await.transpose()? };
        let mut headers = parts.headers;
        strip_hop_by_hop(&mut headers);
        Ok(Begun { status: parts.status, headers, first, rest })
    }
}

impl Begun {
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

    /// The worker's own refusal goes to the client as it is.
    async fn answered(begun: Begun) -> Failed {
        let (status, headers) = (begun.status, begun.headers.clone());
        let pause = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let pause = pause.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        let outcome = Outcome::from_http_status(status.as_u16(), pause);
        let body = begun.collect().await.unwrap_or_default();
        Failed { outcome, response: (status, headers, body).into_response() }
    }
}

/// An error in the shape that OpenAI clients expect.
pub(crate) fn problem(status: StatusCode, message: &str) -> Response {
    let body = json!({ "error": { "message": message, "code": status.as_u16() } });
    (status, Json(body)).into_response()
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
