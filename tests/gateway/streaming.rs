//! Answers pass through as they come, and their end is seen whichever way it comes.

use axum::http::Method;
use http_body_util::BodyExt;
use pointsman::Role::Regular;
use serde_json::json;
use std::time::Duration;

use crate::engine::Engine;
use crate::http::{call, client};
use crate::rig::{LOOPBACK, Rig, eventually, fast, next_piece, stream, stuck};

#[tokio::test(flavor = "multi_thread")]
async fn the_client_gets_the_bytes_that_the_worker_sent() {
    let rig = Rig::new(&[(Regular, fast())]).await;
    let alone = Engine::start(fast(), LOOPBACK).await.unwrap();
    let through = rig.begin("all the same", 20).await.collect().await.unwrap().to_bytes();
    let direct = stream(&rig.client, &alone.url(), "all the same", 20).await;
    assert_eq!(through, direct.collect().await.unwrap().to_bytes());
    rig.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_arrive_while_the_answer_is_still_being_made() {
    let rig = Rig::new(&[(Regular, fast())]).await;
    // Far longer than any test runs: what arrives can only have been passed on at once.
    let mut body = rig.begin("an endless story", 3_000_000).await;
    for _ in 0..20 {
        assert!(next_piece(&mut body).await.unwrap().unwrap().starts_with("data: "));
    }
    assert_eq!(rig.in_flight(), 1);
    // The client has heard enough: the worker stops, the load comes back.
    drop(body);
    rig.idle().await;
    eventually("the engine stops", || rig.engines[0].stats().cancelled == 1).await;
    assert_eq!(rig.engines[0].stats().running, 0);
    assert_eq!(rig.metric("gateway_disconnects_total").await, 1.0);
    assert_eq!(cancelled(&rig).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_first_token_is_noticed() {
    let rig = Rig::new(&[(Regular, stuck())]).await;
    // A client of its own, so that its connection ends with it.
    let impatient = client(Duration::from_secs(5));
    let request = crate::rig::chat_request(&rig.gateway.url(), "never answered", 5);
    let asking = tokio::spawn(async move { impatient.request(request).await.map(drop) });
    eventually("the engine works on it", || rig.engines[0].stats().running == 1).await;
    assert_eq!(rig.in_flight(), 1);
    asking.abort();
    rig.idle().await;
    eventually("the engine stops", || rig.engines[0].stats().running == 0).await;
    assert_eq!(cancelled(&rig).await, 1.0);
    assert_eq!(rig.metric("gateway_retries_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_streaming_pass_through_too() {
    let rig = Rig::new(&[(Regular, fast())]).await;
    let body = json!({ "prompt": "The pointsman", "max_tokens": 3 });
    let (status, answer) = rig.call(Method::POST, "/v1/completions", body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["choices"][0]["text"].as_str().unwrap().len(), 12);
    rig.idle().await;
    let (status, models) = rig.call(Method::GET, "/v1/models", json!(null)).await;
    assert_eq!((status, &models["data"][0]["id"]), (200, &json!("sim")));
    rig.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_learns_what_the_engine_had_cached() {
    let rig = Rig::new(&[(Regular, fast())]).await;
    let question = "How many trains pass the junction on a Sunday? ".repeat(20);
    for _ in 0..2 {
        rig.chat(&question, 3).await.unwrap();
    }
    let body = json!({ "messages": [{ "role": "user", "content": question }], "max_tokens": 3 });
    rig.call(Method::POST, "/v1/chat/completions", body).await;
    rig.idle().await;
    let cached = rig.engines[0].stats().cached_tokens;
    assert!(cached > 400, "two of three prompts of 240 tokens were cached, not {cached}");
    assert_eq!(rig.metric("pointsman_worker_reported_cached_tokens_total").await, cached as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_stays_where_its_prefix_is() {
    let config = crate::proxy::GatewayConfig { probe_interval: None, ..Default::default() };
    let engines: Vec<_> = (0..4).map(|_| (Regular, fast())).collect();
    let rig = Rig::with("cache_aware", config, &engines).await;
    let mut history = "You are a patient dispatcher. ".repeat(40);
    let first = rig.chat(&history, 2).await.unwrap().worker;
    for turn in 0..10 {
        history.push_str(&format!("And what about train {turn}? ").repeat(10));
        assert_eq!(rig.chat(&history, 2).await.unwrap().worker, first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_lets_answers_end_and_takes_no_more() {
    let engine = crate::engine::EngineConfig { step: Duration::from_millis(2), ..fast() };
    let Rig { gateway, engines, client: http } = Rig::new(&[(Regular, engine)]).await;
    let url = gateway.url();
    let mut body = stream(&http, &url, "still to be said", 200).await;
    next_piece(&mut body).await.unwrap().unwrap();
    let shutdown = tokio::spawn(gateway.shutdown(Duration::from_secs(60)));
    let fresh = client(Duration::from_secs(5));
    loop {
        // Refused as soon as the listener is closed.
        if call(&fresh, Method::GET, &format!("{url}/health"), "").await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let rest = body.collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"data: [DONE]\n\n"));
    shutdown.await.unwrap();
    assert_eq!(engines[0].stats().succeeded, 1);
}

async fn cancelled(rig: &Rig) -> f64 {
    let text = rig.metrics().await;
    let line = text.lines().find(|line| line.contains("outcome=\"client_cancelled\"")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
