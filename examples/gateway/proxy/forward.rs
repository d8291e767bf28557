//! Regular requests: choose a worker, send, retry once on another one before the first byte.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use pointsman::{Role, RoutingError, Usage, WorkerId};

use super::exchange::{Failed, Inbound, problem};
use super::metrics::InFlight;
use super::prompt::ReadPrompt;
use super::refusals::Doubted;
use super::relay::Duty;
use super::{Shared, pair};

/// Workers that a request is sent to at most.
pub(crate) const ATTEMPTS: usize = 2;

/// Any request to the engines: the worker sees what the client sent.
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
    if shared.config.pairs {
        pair::forward(&shared, &inbound, body, in_flight).await
    } else {
        single(&shared, &inbound, body, in_flight).await
    }
}

async fn single(shared: &Shared, inbound: &Inbound, body: Bytes, in_flight: InFlight) -> Response {
    let mut prompt = shared.config.prompt.read(&body);
    let mut failed: Vec<WorkerId> = Vec::with_capacity(ATTEMPTS);
    let (mut refusal, mut doubted) = (None, None::<Doubted>);
    while failed.len() < ATTEMPTS {
        let selected = select(shared, &mut prompt, |prompt| {
            shared.router.select(&prompt.request().exclude(&failed))
        });
        let selection = match selected {
            Ok(selection) => selection,
            Err(error) => {
                refusal.get_or_insert_with(|| unroutable(&error));
                break;
            }
        };
        if !failed.is_empty() {
            shared.metrics.retried();
        }
        let worker = selection.worker();
        let Some(url) = selection.url() else {
            // Removed since it was chosen.
            failed.push(worker);
            continue;
        };
        let timeout = shared.config.first_byte_timeout;
        let begun = inbound.begin(&shared.workers, &url, body.clone(), timeout).await;
        match begun {
            Ok(begun) => {
                let duty = Duty::Single(selection);
                let answer = Doubted { worker, role: Role::Regular, url, duty, begun };
                match answer.settle(&shared.refusals, &mut doubted) {
                    Some(answer) => return answer.relay(in_flight),
                    None => failed.push(worker),
                }
            }
            Err(Failed { outcome, response }) => {
                failed.push(worker);
                let _ = selection.complete(outcome, Usage::default());
                refusal = Some(response);
            }
        }
    }
    unanswered(refusal, doubted, in_flight)
}

/// Selects by the prompt; a body that cannot be read as one is routed by load, and left to the engine.
pub(crate) fn select<T>(
    shared: &Shared,
    prompt: &mut ReadPrompt<'_>,
    by: impl Fn(&ReadPrompt<'_>) -> Result<T, RoutingError>,
) -> Result<T, RoutingError> {
    match by(prompt) {
        Err(RoutingError::Body(_)) => {
            shared.metrics.unread();
            *prompt = ReadPrompt::None;
            by(prompt)
        }
        selected => selected,
    }
}

/// No worker answered, or none but one whose refusal nobody else could look at.
pub(crate) fn unanswered(
    refusal: Option<Response>,
    doubted: Option<Doubted>,
    in_flight: InFlight,
) -> Response {
    if let Some(doubted) = doubted {
        return doubted.relay(in_flight);
    }
    in_flight.refused();
    refusal.unwrap_or_else(|| problem(StatusCode::BAD_GATEWAY, "the workers are gone"))
}

/// What the client is told when the router names no worker: 429 where waiting helps by itself, as all are full.
pub(crate) fn unroutable(error: &RoutingError) -> Response {
    let status = match error {
        RoutingError::AllBusy { .. } => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, &error.to_string())
}
