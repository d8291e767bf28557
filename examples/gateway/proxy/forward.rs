//! Regular requests: choose a worker, send, retry once on another one before the first byte.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pointsman::{RoutingError, Usage, WorkerId};

use super::exchange::{Failed, Inbound, problem};
use super::metrics::InFlight;
use super::relay::{self, Duty};
use super::{Shared, pair};

/// Workers that a request is sent to at most.
pub(crate) const ATTEMPTS: usize = 2;

/// Any request under `/v1`: the worker sees what the client sent.
pub(crate) async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let in_flight = shared.metrics.enter();
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, shared.config.max_body_bytes).await {
        Ok(body) => body,
        Err(error) => {
            in_flight.refused();
            return problem(StatusCode::PAYLOAD_TOO_LARGE, &error.to_string());
        }
    };
    let inbound = Inbound::new(parts);
    if shared.config.pairs && !body.is_empty() {
        pair::forward(&shared, &inbound, &body, in_flight).await
    } else {
        single(&shared, &inbound, body, in_flight).await
    }
}

async fn single(shared: &Shared, inbound: &Inbound, body: Bytes, in_flight: InFlight) -> Response {
    let prompt = shared.config.prompt.read(&body);
    let mut failed: Vec<WorkerId> = Vec::with_capacity(ATTEMPTS);
    let mut refusal = None;
    while failed.len() < ATTEMPTS {
        let selection = match shared.router.select(&prompt.request().exclude(&failed)) {
            Ok(selection) => selection,
            Err(error) => {
                refusal.get_or_insert_with(|| unroutable(&error));
                break;
            }
        };
        if !failed.is_empty() {
            shared.metrics.retried();
        }
        let Some(url) = selection.url() else {
            // Removed since it was chosen.
            failed.push(selection.worker());
            continue;
        };
        let timeout = shared.config.first_byte_timeout;
        match inbound.begin(&shared.client, &url, body.clone(), timeout).await {
            Ok(begun) => return relay::response(begun, &url, Duty::Single(selection), in_flight),
            Err(Failed { outcome, response }) => {
                failed.push(selection.worker());
                let _ = selection.complete(outcome, Usage::default());
                refusal = Some(response);
            }
        }
    }
    in_flight.refused();
    refusal.unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response())
}

/// What the client is told when the router names no worker.
pub(crate) fn unroutable(error: &RoutingError) -> Response {
    if matches!(error, RoutingError::Body(_)) {
        return problem(StatusCode::BAD_REQUEST, &error.to_string());
    }
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
    response.headers_mut().insert(header::RETRY_AFTER, 1.into());
    response
}
