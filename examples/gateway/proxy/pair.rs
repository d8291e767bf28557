//! Prefill on one worker, decode on another, chosen together.
//!
//! The protocol is vLLM's: the prefill worker gets the request for one token, without streaming, and with
//! `kv_transfer_params.do_remote_decode`; the `kv_transfer_params` of its answer go to the decode worker
//! with the original request, whose answer is streamed to the client. What cannot be split so goes to the decode
//! worker alone: requests that generate nothing, and bodies that are no JSON.

use axum::body::Bytes;
use axum::response::Response;
use pointsman::{PairSelection, Role, WorkerId};
use serde_json::{Map, Value, json};

use super::Shared;
use super::exchange::{Begun, Failed, Inbound};
use super::forward::{ATTEMPTS, select, unanswered, unroutable};
use super::metrics::InFlight;
use super::prompt::ReadPrompt;
use super::refusals::Doubted;
use super::relay::Duty;
use super::usage::UsageReader;

/// An answer that goes to the client: whose it is, and what the prefill worker had cached.
struct Served {
    role: Role,
    begun: Begun,
    cached: Option<u32>,
}

pub(crate) async fn forward(
    shared: &Shared,
    inbound: &Inbound,
    body: Bytes,
    in_flight: InFlight,
) -> Response {
    let split = split(inbound, &body);
    let mut prompt = match split {
        Some(_) => shared.config.prompt.read(&body),
        None => ReadPrompt::None,
    };
    let mut failed: Vec<WorkerId> = Vec::with_capacity(ATTEMPTS);
    let (mut refusal, mut doubted) = (None, None::<Doubted>);
    while failed.len() < ATTEMPTS {
        let selected = select(shared, &mut prompt, |prompt| {
            shared.router.select_pair(&prompt.request().exclude(&failed))
        });
        let pair = match selected {
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
        let served = match &split {
            Some(original) => serve(shared, inbound, original, &pair, [&prefill, &decode]).await,
            None => whole(shared, inbound, &body, &pair, &decode).await,
        };
        let in_role = |role| if role == Role::Prefill { pair.prefill() } else { pair.decode() };
        match served {
            Ok(Served { role, begun, cached }) => {
                let worker = in_role(role).worker();
                let url = if role == Role::Prefill { prefill } else { decode };
                let duty = Duty::Pair(pair, cached);
                let answer = Doubted { worker, role, url, duty, begun };
                match answer.settle(&shared.refusals, &mut doubted) {
                    Some(answer) => return answer.relay(in_flight),
                    None => failed.push(worker),
                }
            }
            Err((role, Failed { outcome, response })) => {
                failed.push(in_role(role).worker());
                let _ = pair.complete_by(role, outcome, Default::default());
                refusal = Some(response);
            }
        }
    }
    unanswered(refusal, doubted, in_flight)
}

/// The request as the two workers' requests are made from it, if they can be.
fn split(inbound: &Inbound, body: &[u8]) -> Option<Map<String, Value>> {
    if inbound.generates() { serde_json::from_slice(body).ok() } else { None }
}

/// The whole request to the decode worker; the prefill worker has nothing to do.
async fn whole(
    shared: &Shared,
    inbound: &Inbound,
    body: &Bytes,
    pair: &PairSelection,
    decode: &str,
) -> Result<Served, (Role, Failed)> {
    let _ = pair.first_token(None);
    let timeout = shared.config.first_byte_timeout;
    let begun = inbound.begin(&shared.workers, decode, body.clone(), timeout).await;
    let served = |begun| Served { role: Role::Decode, begun, cached: None };
    begun.map(served).map_err(|failure| (Role::Decode, failure))
}

/// Both requests, one after the other: the decode worker's answer, or the prefill worker's refusal. A failure names the
/// role that failed.
async fn serve(
    shared: &Shared,
    inbound: &Inbound,
    original: &Map<String, Value>,
    pair: &PairSelection,
    [prefill, decode]: [&str; 2],
) -> Result<Served, (Role, Failed)> {
    let timeout = shared.config.first_byte_timeout;
    let request = to_bytes(&prefill_request(original, inbound.bare_path()));
    let computed = inbound.begin(&shared.workers, prefill, request, timeout).await;
    let begun = computed.map_err(|failure| (Role::Prefill, failure))?;
    if begun.is_refused() {
        return Ok(Served { role: Role::Prefill, begun, cached: None });
    }
    let answer = begun.collect().await;
    let answer = answer.map_err(|error| (Role::Prefill, Failed::unreachable(prefill, error)))?;
    let mut usage = UsageReader::default();
    usage.push(&answer);
    let cached = usage.usage().cached_tokens;
    let _ = pair.first_token(cached);
    let mut request = original.clone();
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    if let Some(params) = answer.get("kv_transfer_params") {
        request.insert("kv_transfer_params".to_owned(), params.clone());
    }
    let begun = inbound.begin(&shared.workers, decode, to_bytes(&request), timeout).await;
    let served = |begun| Served { role: Role::Decode, begun, cached };
    begun.map(served).map_err(|failure| (Role::Decode, failure))
}

/// What would make the prefill worker generate more than one token, more than one answer, or none now.
const NOT_FOR_PREFILL: [&str; 11] = [
    "stream_options",
    "min_tokens",
    "min_completion_tokens",
    "min_new_tokens",
    "n",
    "best_of",
    "use_beam_search",
    "background",
    "store",
    "max_completion_tokens",
    "max_output_tokens",
];

fn prefill_request(original: &Map<String, Value>, path: &str) -> Map<String, Value> {
    let mut request = original.clone();
    let limit = match path {
        "/v1/responses" => "max_output_tokens",
        _ if request.contains_key("max_completion_tokens") => "max_completion_tokens",
        _ => "max_tokens",
    };
    NOT_FOR_PREFILL.iter().for_each(|field| drop(request.remove(*field)));
    request.remove("max_tokens");
    request.insert(limit.to_owned(), 1.into());
    if let Some(Value::Object(sampling)) = request.get_mut("sampling_params") {
        NOT_FOR_PREFILL.iter().for_each(|field| drop(sampling.remove(*field)));
        sampling.insert("max_new_tokens".to_owned(), 1.into());
    }
    request.insert("stream".to_owned(), false.into());
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
