//! What operators ask of the gateway: the workers, changes to them, the policy, and metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use pointsman::{
    MetricsSnapshot, PolicyConfig, PoolError, Role, WorkerChange, WorkerId, WorkerSpec,
    WorkerStatus,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Shared;
use super::exchange::problem;
use super::probe::register_anew;
use crate::http::{AnyError, call, worker_url};

type Answer = Result<Response, Response>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWorker {
    url: String,
    #[serde(default)]
    role: Role,
    weight: Option<f64>,
    group: Option<String>,
    kv_capacity_tokens: Option<u64>,
    max_in_flight: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    draining: Option<bool>,
    weight: Option<f64>,
    max_in_flight: Option<u32>,
}

/// `GET /workers`
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "workers": shared.router.workers().iter().map(describe).collect::<Vec<_>>() }))
}

/// `POST /workers` with `{"url": ..., "role": "regular" | "prefill" | "decode", ...}`
pub(crate) async fn add(
    State(shared): State<Arc<Shared>>,
    body: Result<Json<NewWorker>, JsonRejection>,
) -> Answer {
    let Json(new) = body.map_err(unreadable)?;
    let url = worker_url(&new.url).map_err(|error| bad_request(&error))?;
    let mut spec = WorkerSpec::new(&url).role(new.role);
    if let Some(weight) = new.weight {
        spec = spec.weight(weight);
    }
    if let Some(group) = new.group {
        spec = spec.group(group);
    }
    if let Some(limit) = new.max_in_flight {
        spec = spec.max_in_flight(limit);
    }
    let added = shared.add_worker(spec, &url, new.kv_capacity_tokens).await;
    let id = added.map_err(|error| bad_request(&error))?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id.to_raw(), "url": url }))).into_response())
}

/// `PATCH /workers/{id}` with any of `draining`, `weight`, `max_in_flight`
pub(crate) async fn change(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<u64>,
    body: Result<Json<Change>, JsonRejection>,
) -> Answer {
    let Json(change) = body.map_err(unreadable)?;
    let id = WorkerId::from_raw(id);
    let mut update = WorkerChange::new();
    if let Some(weight) = change.weight {
        update = update.weight(weight);
    }
    if let Some(limit) = change.max_in_flight {
        update = update.max_in_flight(Some(limit));
    }
    shared.router.update_worker(id, update).map_err(refused)?;
    if let Some(draining) = change.draining {
        let changed =
            if draining { shared.router.drain_worker(id) } else { shared.router.resume_worker(id) };
        changed.map_err(refused)?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /workers/{id}`: at once; drain it first to let its requests end while they are tracked.
pub(crate) async fn remove(State(shared): State<Arc<Shared>>, Path(id): Path<u64>) -> Answer {
    shared.router.remove_worker(WorkerId::from_raw(id)).map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PUT /policy` with a policy's name as a JSON string, or an object with its settings
pub(crate) async fn set_policy(
    State(shared): State<Arc<Shared>>,
    body: Result<Json<PolicyConfig>, JsonRejection>,
) -> Answer {
    let Json(policy) = body.map_err(unreadable)?;
    shared.router.set_policy(&policy).map_err(|error| bad_request(&error.into()))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `/flush_cache`: every worker that answers 200 holds nothing any more, in the router's eyes, too.
pub(crate) async fn flush_cache(State(shared): State<Arc<Shared>>) -> Response {
    let workers = shared.router.workers();
    let flushed = join_all(workers.iter().map(async |worker| {
        let url = format!("{}/flush_cache", worker.info.url);
        let answer = call(shared.workers.keeping(), Method::POST, &url, "").await;
        let status = answer.map_or(0, |(status, _)| status);
        if status == 200 {
            // Fails where the worker was removed meanwhile: nothing is left to do.
            let _ = register_anew(&shared, worker, None);
        }
        (worker.info.url.clone(), status)
    }))
    .await;
    let all = flushed.iter().all(|(_, status)| *status == 200);
    let status = if all { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
    let answers: Map<String, Value> =
        flushed.into_iter().map(|(url, status)| (url, status.into())).collect();
    (status, Json(json!({ "workers": answers }))).into_response()
}

/// `GET /health`: good while any worker is.
pub(crate) async fn health(State(shared): State<Arc<Shared>>) -> Response {
    if shared.router.workers().iter().any(|worker| worker.healthy && !worker.draining) {
        StatusCode::OK.into_response()
    } else {
        problem(StatusCode::SERVICE_UNAVAILABLE, "no healthy worker")
    }
}

/// `GET /metrics`: the library's figures and the gateway's own
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = shared.router.metrics().write_families(&mut text);
    shared.metrics.write_families(&mut text);
    text.push_str("# EOF\n");
    ([(header::CONTENT_TYPE, MetricsSnapshot::CONTENT_TYPE)], text).into_response()
}

fn describe(worker: &WorkerStatus) -> Value {
    let info = &worker.info;
    json!({
        "id": info.id.to_raw(),
        "url": info.url,
        "role": info.role,
        "group": info.group,
        "weight": worker.weight,
        "effective_weight": worker.effective_weight,
        "healthy": worker.healthy,
        "on_probation": worker.on_probation,
        "draining": worker.draining,
        "max_in_flight": worker.max_in_flight,
        "in_flight": worker.in_flight,
        "selections": worker.selections,
        "kv_capacity_tokens": info.kv_capacity_tokens,
    })
}

fn refused(error: PoolError) -> Response {
    let status = match error {
        PoolError::UnknownWorker(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_REQUEST,
    };
    problem(status, &error.to_string())
}

fn unreadable(rejection: JsonRejection) -> Response {
    problem(rejection.status(), &rejection.body_text())
}

fn bad_request(error: &AnyError) -> Response {
    problem(StatusCode::BAD_REQUEST, &error.to_string())
}
