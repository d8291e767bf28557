//! Workers that die, refuse, or come back.

use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use pointsman::Role::Regular;
use serde_json::json;

use crate::proxy::GatewayConfig;
use crate::rig::{Rig, eventually, fast, next_piece, stuck};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_mid_run_loses_no_request() {
    let mut rig = Rig::new(&[(Regular, stuck()), (Regular, fast()), (Regular, fast())]).await;
    let mut victim = rig.engines.remove(0);
    let victim_url = victim.url();
    let users = (0..30).map(|user| rig.chat(["question ", "demand "][user % 2], 5));
    let accident = async {
        let held = || victim.stats().running + victim.stats().waiting;
        eventually("the victim holds its share", || held() == 10).await;
        victim.kill().await;
    };
    let (answers, ()) = tokio::join!(join_all(users), accident);
    for answer in answers {
        assert_ne!(answer.unwrap().worker.unwrap(), victim_url);
    }
    rig.idle().await;
    assert_eq!(rig.metric("gateway_retries_total").await, 10.0);
    assert_eq!(rig.metric("gateway_refused_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_never_goes_to_the_worker_that_failed() {
    let mut rig = Rig::new(&[(Regular, fast()), (Regular, fast())]).await;
    rig.engines[0].kill().await;
    let alive = rig.engines[1].url();
    for _ in 0..20 {
        assert_eq!(rig.chat("who is there?", 2).await.unwrap().worker.unwrap(), alive);
    }
    rig.idle().await;
    // Three failures in a row made it ineligible: from then on nothing had to be repeated.
    let retries = rig.metric("gateway_retries_total").await;
    assert!((3.0..10.0).contains(&retries), "{retries} of 20 were repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_another_worker_the_client_hears_of_the_failure() {
    let mut rig = Rig::new(&[(Regular, fast())]).await;
    rig.engines[0].kill().await;
    let body = json!({ "messages": [] });
    let (status, answer) = rig.call(Method::POST, "/v1/chat/completions", body.clone()).await;
    assert_eq!(status, 502);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains(&rig.engines[0].url()), "{message}");
    assert_eq!(rig.in_flight(), 0);

    let id = rig.gateway.router().workers()[0].info.id;
    rig.gateway.router().remove_worker(id).unwrap();
    let (status, answer) = rig.call(Method::POST, "/v1/chat/completions", body).await;
    assert_eq!(status, 503);
    assert!(answer["error"]["message"].as_str().unwrap().contains("0 registered"), "{answer}");
    assert_eq!(rig.metric("gateway_refused_total").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_mid_answer_breaks_it_off_visibly() {
    let mut rig = Rig::new(&[(Regular, fast())]).await;
    let mut body = rig.begin("to be continued", 3_000_000).await;
    next_piece(&mut body).await.unwrap().unwrap();
    rig.engines[0].kill().await;
    // An error, not an end that looks like a complete answer.
    body.collect().await.unwrap_err();
    rig.idle().await;
    assert_eq!(rig.metric("gateway_cut_total").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_the_clients_and_not_repeated() {
    let rig = Rig::new(&[(Regular, fast()), (Regular, fast())]).await;
    for _ in 0..10 {
        let (status, _) = rig.call(Method::POST, "/v1/chat/completions", json!({})).await;
        assert_eq!(status, 400);
    }
    rig.idle().await;
    assert_eq!(rig.metric("gateway_retries_total").await, 0.0);
    assert!(rig.gateway.router().workers().iter().all(|worker| worker.healthy));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_too_slow_to_begin_is_given_up_for_another() {
    let config = GatewayConfig {
        probe_interval: None,
        first_byte_timeout: Duration::from_secs(2),
        ..GatewayConfig::default()
    };
    let rig = Rig::with("round_robin", config, &[(Regular, stuck()), (Regular, fast())]).await;
    let alive = rig.engines[1].url();
    let answers = join_all([rig.chat("hurry", 2), rig.chat("up", 2)]).await;
    for answer in answers {
        assert_eq!(answer.unwrap().worker.unwrap(), alive);
    }
    rig.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_see_a_worker_die_and_come_back_empty() {
    let config = GatewayConfig {
        probe_interval: Some(Duration::from_millis(10)),
        ..GatewayConfig::default()
    };
    let mut rig = Rig::with("round_robin", config, &[(Regular, fast()), (Regular, fast())]).await;
    let url = rig.engines[0].url();
    let router = rig.gateway.router().clone();
    let worker = || {
        let workers = router.workers();
        workers.into_iter().find(|worker| worker.info.url == url)
    };
    let before = worker().unwrap().info.id;
    assert_eq!(worker().unwrap().info.kv_capacity_tokens, Some(4_000_000));

    router.set_max_in_flight(before, Some(3)).unwrap();

    rig.engines[0].kill().await;
    eventually("it is marked down", || worker().is_some_and(|worker| !worker.healthy)).await;
    rig.engines[0].restart().await.unwrap();
    eventually("it is back", || worker().is_some_and(|worker| worker.healthy)).await;
    // A new process, so a new identity: nothing that was cached before is there.
    let back = || worker().is_some_and(|worker| worker.info.id != before);
    eventually("it is registered anew", back).await;
    assert_eq!(worker().unwrap().info.kv_capacity_tokens, Some(4_000_000));
    assert_eq!(worker().unwrap().max_in_flight, Some(3));
}
