//! Bodies and paths that the gateway has to pass on without reading them.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use pointsman::Role::{Decode, Prefill, Regular};
use pointsman::{Role, WorkerSpec};
use serde_json::json;

use crate::http::{Server, call};
use crate::proxy::GatewayConfig;
use crate::rig::{LOOPBACK, Rig, fast};

/// A worker that answers with the length of the body that it got, and its content type.
async fn echo() -> Server {
    let answer = |headers: HeaderMap, body: Bytes| async move {
        let kind = headers.get("content-type").map(|kind| kind.as_bytes().to_vec());
        format!("{} {}", body.len(), String::from_utf8_lossy(&kind.unwrap_or_default()))
    };
    Server::bind(LOOPBACK, axum::Router::new().fallback(answer)).await.unwrap()
}

async fn rig(roles: &[Role]) -> (Rig, Vec<Server>) {
    let config = GatewayConfig { probe_interval: None, ..GatewayConfig::default() };
    let rig = Rig::with_pairs("cache_aware", config, roles.contains(&Prefill)).await;
    let mut workers = Vec::new();
    for role in roles {
        let worker = echo().await;
        let spec = WorkerSpec::new(format!("http://{}", worker.address())).role(*role);
        rig.gateway.router().add_worker(spec).unwrap();
        workers.push(worker);
    }
    (rig, workers)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_is_routed_by_load() {
    let chat = br#"{"messages": [{"role": "user", "content": "What is in there?"}]}"#;
    let gzip: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0];
    let zstd: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 2, 0x11, 0, 0, b'{', b'}'];
    let multipart: &[u8] =
        b"--b\r\ncontent-disposition: form-data; name=model\r\n\r\nwhisper\r\n--b--\r\n";
    let marked = [b"\xef\xbb\xbf", &chat[..]].concat();
    let bodies: [(&[u8], &str, &str); 5] = [
        (gzip, "application/json", "gzip"),
        (zstd, "application/json", "zstd"),
        (multipart, "multipart/form-data; boundary=b", "identity"),
        (&marked, "application/json", "identity"),
        (b"{\"messages\": [", "application/json", "identity"),
    ];
    for roles in [&[Regular, Regular][..], &[Prefill, Decode]] {
        let (rig, _workers) = rig(roles).await;
        for (body, kind, encoding) in bodies {
            let request = Request::post(format!("{}/v1/chat/completions", rig.gateway.url()))
                .header("content-type", kind)
                .header("content-encoding", encoding)
                .body(Full::new(Bytes::copy_from_slice(body)))
                .unwrap();
            let answer = rig.client.request(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{encoding} {kind}");
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(text, format!("{} {kind}", body.len()), "the worker gets it as it is");
        }
        rig.idle().await;
        let unread = if roles.contains(&Prefill) { 0.0 } else { bodies.len() as f64 };
        assert_eq!(rig.metric("gateway_unread_total").await, unread);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_generate_nothing_are_served_in_pair_mode_too() {
    let rig = Rig::new(&[(Prefill, fast()), (Decode, fast())]).await;
    let (status, models) = rig.call(Method::GET, "/v1/models", json!(null)).await;
    assert_eq!((status, &models["data"][0]["id"]), (200, &json!("sim")));
    let url = format!("{}/v1/models", rig.gateway.url());
    assert_eq!(call(&rig.client, Method::GET, &url, "").await.unwrap().0, 200);
    rig.idle().await;

    let (rig, workers) = self::rig(&[Prefill, Decode]).await;
    let body = json!({ "input": "to be embedded" }).to_string();
    let url = format!("{}/v1/embeddings", rig.gateway.url());
    let request = Request::post(url).body(Full::new(Bytes::from(body))).unwrap();
    let answer = rig.client.request(request).await.unwrap();
    let decode = format!("http://{}", workers[1].address());
    assert_eq!(answer.headers()["x-pointsman-worker"], decode);
    rig.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_the_engines_reach_them() {
    let (rig, _workers) = rig(&[Regular]).await;
    for path in ["/score", "/pooling", "/classify", "/version", "/generate", "/v1/messages"] {
        let url = format!("{}{path}?a=b", rig.gateway.url());
        let (status, text) = call(&rig.client, Method::POST, &url, "{}").await.unwrap();
        assert_eq!((status, &text[..]), (200, &b"2 application/json"[..]), "{path}");
    }
    for path in ["/liveness", "/readiness"] {
        assert_eq!(rig.call(Method::GET, path, json!(null)).await.0, 200);
    }
    assert_eq!(rig.call(Method::GET, "/nowhere", json!(null)).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_the_limit_is_refused() {
    let config =
        GatewayConfig { probe_interval: None, max_body_bytes: 100, ..GatewayConfig::default() };
    let rig = Rig::with("cache_aware", config, &[(Regular, fast())]).await;
    let body = json!({ "prompt": "x".repeat(200) });
    let (status, answer) = rig.call(Method::POST, "/v1/completions", body).await;
    assert_eq!((status, &answer["error"]["type"]), (413, &json!("invalid_request_error")));
}
