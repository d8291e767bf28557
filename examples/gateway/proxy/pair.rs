//! Prefill on one worker, decode on another, chosen together.
//!
//! The protocol is vLLM's: the prefill worker gets the request with `max_tokens: 1`, no streaming and
//! `kv_transfer_params.do_remote_decode`; the `kv_transfer_params` of its answer go to the decode worker
//! with the original request, whose answer is streamed to the client.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use pointsman::{PairSelection, Role, Usage, WorkerId};
use serde_json::{Map, Value, json};

use super::Shared;
use super::exchange::{Begun, Failed, Inbound, problem};
use super::forward::{ATTEMPTS, unroutable};
use super::metrics::InFlight;
use super::relay::{self, Duty};

pub(crate) async fn forward(
    shared: &Shared,
    inbound: &Inbound,
    body: &Bytes,
    in_flight: InFlight,
) -> Response {
    let original: Map<String, Value> = match serde_json::from_slice(body) {
        Ok(original) => original,
        Err(error) => {
            in_flight.refused();
            return problem(StatusCode::BAD_REQUEST, &error.to_string());
        }
    };
    let prompt = shared.config.prompt.read(body);
    let mut failed: Vec<WorkerId> = Vec::with_capacity(ATTEMPTS);
    let mut refusal = None;
    while failed.len() < ATTEMPTS {
        let pair = match shared.router.select_pair(&prompt.request().exclude(&failed)) {
            Ok(pair) => pair,
            Err(error) => {
                refusal.get_or_insert_with(|| unroutable(&error));
                break;
            }
        };
        if !failed.is_empty() {
            shared.metrics.retried();
        }
        let (Some(prefill), Some(decode)) = (pair.prefill().url(), pair.decode().url()) else {
            // One of them was removed since it was chosen.
            failed.extend([pair.prefill().worker(), pair.decode().worker()]);
            continue;
        };
        match serve(shared, inbound, &original, &pair, [&prefill, &decode]).await {
            Ok((begun, cached)) => {
                return relay::response(begun, &decode, Duty::Pair(pair, cached), in_flight);
            }
            Err((role, Failed { outcome, response })) => {
                let blamed = if role == Role::Prefill { pair.prefill() } else { pair.decode() };
                failed.push(blamed.worker());
                let _ = pair.complete_by(role, outcome, Usage::default());
                refusal = Some(response);
            }
        }
    }
    in_flight.refused();
    refusal.unwrap_or_else(|| problem(StatusCode::BAD_GATEWAY, "no pair of workers"))
}

/// Both requests, one after the other: the decode worker's answer, and what the prefill worker had
/// cached. A failure names the role that failed.
async fn serve(
    shared: &Shared,
    inbound: &Inbound,
    original: &Map<String, Value>,
    pair: &PairSelection,
    [prefill, decode]: [&str; 2],
) -> Result<(Begun, Option<u32>), (Role, Failed)> {
    let timeout = shared.config.first_byte_timeout;
    let request = to_bytes(&prefill_request(original));
    let computed = async {
        let begun = inbound.begin(&shared.client, prefill, request, timeout).await?;
        begun.collect().await.map_err(|error| Failed::unreachable(prefill, error))
    };
    let answer = computed.await.map_err(|failure| (Role::Prefill, failure))?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
    let cached = cached.map(|tokens| tokens.min(u32::MAX.into()) as u32);
    let _ = pair.first_token(cached);
    let mut request = original.clone();
    if let Some(params) = answer.get("kv_transfer_params") {
        request.insert("kv_transfer_params".to_owned(), params.clone());
    }
    let begun = inbound.begin(&shared.client, decode, to_bytes(&request), timeout).await;
    begun.map(|begun| (begun, cached)).map_err(|failure| (Role::Decode, failure))
}

fn prefill_request(original: &Map<String, Value>) -> Map<String, Value> {
    let mut request = original.clone();
    request.insert("max_tokens".to_owned(), 1.into());
    if let Some(tokens) = request.get_mut("max_completion_tokens") {
        *tokens = 1.into();
    }
    request.insert("stream".to_owned(), false.into());
    request.remove("stream_options");
    let params = json!({
        "do_remote_decode": true,
        "do_remote_prefill": false,
        "remote_engine_id": null,
        "remote_block_ids": null,
        "remote_host": null,
        "remote_port": null,
    });
    request.insert("kv_transfer_params".to_owned(), params);
    request
}

fn to_bytes(request: &Map<String, Value>) -> Bytes {
    // A map that was read from JSON can always be written as JSON.
    serde_json::to_vec(request).unwrap_or_default().into()
}
