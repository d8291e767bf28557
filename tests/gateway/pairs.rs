//! Prefill on one worker, decode on another.

use axum::http::Method;
use pointsman::Role::{Decode, Prefill};
use serde_json::json;

use crate::engine::EngineStats;
use crate::rig::{Rig, eventually, fast, next_piece, stuck};

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_computed_by_one_and_decoded_by_another() {
    let roles = [Prefill, Prefill, Decode, Decode];
    let rig = Rig::new(&roles.map(|role| (role, fast()))).await;
    for number in 0..12 {
        let answer = rig.chat(&format!("request {number}"), 5).await.unwrap();
        assert_eq!(answer.text.len(), 20);
    }
    rig.idle().await;
    for engine in &rig.engines {
        // Round robin keeps a counter for each role: no worker is skipped.
        let EngineStats { succeeded, held, running, cancelled, .. } = engine.stats();
        assert_eq!((succeeded, held, running, cancelled), (6, 0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_learns_what_the_prefill_worker_had_cached() {
    let rig = Rig::new(&[(Prefill, fast()), (Decode, fast())]).await;
    let question = "How many trains pass the junction on a Sunday? ".repeat(20);
    for _ in 0..3 {
        rig.chat(&question, 3).await.unwrap();
    }
    rig.idle().await;
    let cached = rig.engines[0].stats().cached_tokens;
    assert!(cached > 400, "two of three prompts of 240 tokens were cached, not {cached}");
    assert_eq!(rig.metric("pointsman_worker_reported_cached_tokens_total").await, cached as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prefill_worker_is_free_once_the_first_token_is_there() {
    let rig = Rig::new(&[(Prefill, fast()), (Decode, fast())]).await;
    let mut body = rig.begin("a long answer", 3_000_000).await;
    next_piece(&mut body).await.unwrap().unwrap();
    let in_flight = || -> Vec<usize> {
        rig.gateway.router().workers().iter().map(|worker| worker.in_flight).collect()
    };
    assert_eq!(in_flight(), [0, 1]);
    drop(body);
    rig.idle().await;
    eventually("the decode engine stops", || rig.engines[1].stats().running == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_prefill_worker_takes_over() {
    let roles = [Prefill, Prefill, Decode];
    let mut rig = Rig::new(&roles.map(|role| (role, fast()))).await;
    rig.engines[0].kill().await;
    for _ in 0..8 {
        rig.chat("whoever can", 3).await.unwrap();
    }
    rig.idle().await;
    assert_eq!(rig.engines[1].stats().succeeded, 8);
    assert!(rig.metric("gateway_retries_total").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_decode_worker_takes_over() {
    let roles = [Prefill, Decode, Decode];
    let mut rig = Rig::new(&roles.map(|role| (role, fast()))).await;
    rig.engines[2].kill().await;
    for _ in 0..8 {
        rig.chat("whoever can", 3).await.unwrap();
    }
    rig.idle().await;
    assert_eq!(rig.engines[1].stats().succeeded, 8);
    assert!(rig.metric("gateway_retries_total").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_during_prefill_frees_both_workers() {
    let rig = Rig::new(&[(Prefill, stuck()), (Decode, fast())]).await;
    let impatient = crate::http::client(std::time::Duration::from_secs(5));
    let request = crate::rig::chat_request(&rig.gateway.url(), "never answered", 5);
    let asking = tokio::spawn(async move { impatient.request(request).await.map(drop) });
    eventually("the engine works on it", || rig.engines[0].stats().running == 1).await;
    assert_eq!(rig.in_flight(), 2);
    asking.abort();
    rig.idle().await;
    eventually("the engine stops", || rig.engines[0].stats().running == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prefill_is_asked_for_one_token_whatever_the_client_wants() {
    let rig = Rig::new(&[(Prefill, fast()), (Decode, fast())]).await;
    let messages = json!([{ "role": "user", "content": "Begin." }]);
    let limits = json!({ "min_tokens": 5, "n": 2, "best_of": 2, "use_beam_search": true });
    let bodies = [
        ("/v1/chat/completions", json!({ "messages": messages, "max_completion_tokens": 5 })),
        ("/v1/chat/completions", json!({ "messages": messages, "max_tokens": 5 })),
        ("/v1/completions", json!({ "prompt": "Begin.", "max_tokens": 5 })),
        ("/v1/messages", json!({ "messages": messages, "max_tokens": 5 })),
        ("/v1/responses", json!({ "input": "Begin.", "max_output_tokens": 5, "store": true })),
    ];
    for (number, (path, mut body)) in bodies.into_iter().enumerate() {
        for (field, value) in limits.as_object().unwrap() {
            body[field] = value.clone();
        }
        let (status, answer) = rig.call(Method::POST, path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        rig.idle().await;
        // A prefill engine that was asked for more, or for less than its least, would have refused.
        let stats = [rig.engines[0].stats(), rig.engines[1].stats()];
        let succeeded = stats.map(|stats| stats.succeeded);
        assert_eq!(succeeded, [number as u64 + 1; 2], "{path}");
    }
}
