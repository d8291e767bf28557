//! Refusals: the client's fault, the worker's, or nobody's.

use axum::http::{Method, Request, StatusCode};
use axum::routing::any;
use http_body_util::{BodyExt, Full};
use pointsman::Role::{Decode, Prefill, Regular};
use pointsman::WorkerSpec;
use serde_json::json;

use crate::http::Server;
use crate::rig::{LOOPBACK, Rig, fast, next_piece};

/// A worker that answers everything with one status.
async fn worker(status: StatusCode) -> Server {
    Server::bind(LOOPBACK, axum::Router::new().fallback(any(move || async move { status })))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_refuses_what_others_take_loses_its_traffic() {
    let rig = Rig::new(&[(Regular, fast()), (Regular, fast())]).await;
    let broken = worker(StatusCode::BAD_REQUEST).await;
    let url = format!("http://{}", broken.address());
    rig.gateway.router().add_worker(WorkerSpec::new(&url)).unwrap();
    let mut refused = 0;
    for _ in 0..40 {
        let body = json!({ "prompt": "Is anybody wrong?", "max_tokens": 1 });
        refused += u32::from(rig.call(Method::POST, "/v1/completions", body).await.0 == 400);
    }
    rig.idle().await;
    // Three are believed; of the next ones another worker shows that they could be served.
    assert_eq!(refused, 3);
    let workers = rig.gateway.router().workers();
    let blamed = workers.iter().find(|worker| worker.info.url == url).unwrap();
    assert!(!blamed.healthy);
    assert!(workers.iter().filter(|worker| worker.healthy).count() == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_wrong_harm_no_worker() {
    let rig = Rig::new(&[(Regular, fast()), (Regular, fast())]).await;
    for _ in 0..40 {
        assert_eq!(rig.call(Method::POST, "/v1/completions", json!({})).await.0, 400);
    }
    rig.idle().await;
    assert!(rig.gateway.router().workers().iter().all(|worker| worker.healthy));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefill_workers_refusal_goes_to_the_client() {
    let rig = Rig::new(&[(Prefill, fast()), (Decode, fast())]).await;
    let body = json!({ "prompt": "x".repeat(100), "max_tokens": 9_000_000 });
    // The prefill engine is asked for one token, the decode engine for more than it can hold.
    let (status, answer) = rig.call(Method::POST, "/v1/completions", body).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(400)));
    let body = json!({ "prompt": null, "max_tokens": 9 }).to_string();
    let url = format!("{}/v1/completions", rig.gateway.url());
    let request = Request::post(url).body(Full::new(body.into())).unwrap();
    let answer = rig.client.request(request).await.unwrap();
    assert_eq!(answer.status(), 400);
    // It never came to the decode engine.
    assert_eq!(answer.headers()["x-pointsman-worker"], rig.engines[0].url());
    answer.into_body().collect().await.unwrap();
    rig.idle().await;
    assert!(rig.gateway.router().workers().iter().all(|worker| worker.healthy));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefill_worker_that_refuses_everything_loses_its_traffic() {
    let rig = Rig::new(&[(Prefill, fast()), (Decode, fast())]).await;
    let broken = worker(StatusCode::NOT_FOUND).await;
    let url = format!("http://{}", broken.address());
    rig.gateway.router().add_worker(WorkerSpec::new(&url).role(Prefill)).unwrap();
    let mut refused = 0;
    for _ in 0..30 {
        let body = json!({ "prompt": "Is anybody wrong?", "max_tokens": 2 });
        refused += u32::from(rig.call(Method::POST, "/v1/completions", body).await.0 == 404);
    }
    rig.idle().await;
    assert_eq!(refused, 3);
    let workers = rig.gateway.router().workers();
    assert!(workers.iter().all(|worker| worker.healthy == (worker.info.url != url)));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_waiting_helps_the_client_is_told_how_long() {
    let rig = Rig::new(&[(Regular, fast())]).await;
    let id = rig.gateway.router().workers()[0].info.id;
    rig.gateway.router().set_max_in_flight(id, Some(1)).unwrap();
    let mut body = rig.begin("a long answer", 3_000_000).await;
    next_piece(&mut body).await.unwrap().unwrap();
    assert_eq!(waits(&rig).await, (429, "1".to_owned()));
    drop(body);
    rig.idle().await;
    rig.gateway.router().remove_worker(id).unwrap();
    assert_eq!(waits(&rig).await, (503, "1".to_owned()));
    // A worker's own refusal that does not say so, and is everybody's.
    let busy = worker(StatusCode::SERVICE_UNAVAILABLE).await;
    let spec = WorkerSpec::new(format!("http://{}", busy.address()));
    rig.gateway.router().add_worker(spec).unwrap();
    assert_eq!(waits(&rig).await, (503, "1".to_owned()));
}

/// Status and `retry-after` of a request.
async fn waits(rig: &Rig) -> (u16, String) {
    let body = json!({ "prompt": "now", "max_tokens": 1 }).to_string();
    let url = format!("{}/v1/completions", rig.gateway.url());
    let request = Request::post(url).body(Full::new(body.into())).unwrap();
    let answer = rig.client.request(request).await.unwrap();
    let pause = answer.headers().get("retry-after").unwrap();
    (answer.status().as_u16(), pause.to_str().unwrap().to_owned())
}
