//! `/workers`, `/policy`, `/health` and `/metrics`.

use axum::http::Method;
use http_body_util::BodyExt;
use pointsman::Role::Regular;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::rig::{LOOPBACK, Rig, fast, next_piece};

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_listed_added_and_removed() {
    let rig = Rig::new(&[(Regular, fast())]).await;
    let second = Engine::start(fast(), LOOPBACK).await.unwrap();
    let new = json!({ "url": second.url(), "weight": 2.0 });
    let (status, added) = rig.call(Method::POST, "/workers", new.clone()).await;
    assert_eq!(status, 201);
    let listed = workers(&rig).await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1]["url"], second.url());
    assert_eq!(listed[1]["weight"], 2.0);
    assert_eq!(listed[1]["kv_capacity_tokens"], 4_000_000);

    let refused = [
        new,
        json!({ "url": "ftp://example" }),
        json!({ "url": "http://127.0.0.1:1", "weight": 0.0 }),
    ];
    for body in refused {
        let (status, answer) = rig.call(Method::POST, "/workers", body).await;
        assert_eq!(status, 400, "{answer}");
    }
    let unknown_field = json!({ "url": "http://127.0.0.1:1", "wieght": 1.0 });
    assert_eq!(rig.call(Method::POST, "/workers", unknown_field).await.0, 422);

    let path = format!("/workers/{}", added["id"]);
    let change = json!({ "weight": 0.5, "max_in_flight": 4 });
    assert_eq!(rig.call(Method::PATCH, &path, change).await.0, 204);
    let changed = &workers(&rig).await[1];
    assert_eq!((&changed["weight"], &changed["max_in_flight"]), (&json!(0.5), &json!(4)));
    // A change of which a part is refused is refused as a whole.
    let half = json!({ "weight": 2.0, "max_in_flight": 0 });
    assert_eq!(rig.call(Method::PATCH, &path, half).await.0, 400);
    assert_eq!(rig.call(Method::PATCH, &path, json!({ "weight": -1.0 })).await.0, 400);
    assert_eq!(workers(&rig).await[1]["weight"], 0.5);
    assert_eq!(rig.call(Method::DELETE, &path, json!(null)).await.0, 204);
    assert_eq!(rig.call(Method::DELETE, &path, json!(null)).await.0, 404);
    assert_eq!(workers(&rig).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_takes_no_new_work_and_ends_the_old() {
    let rig = Rig::new(&[(Regular, fast()), (Regular, fast())]).await;
    let drained = rig.engines[0].url();
    let mut streams = [rig.begin("one", 20_000).await, rig.begin("two", 20_000).await];
    for body in &mut streams {
        next_piece(body).await.unwrap().unwrap();
    }
    let listed = workers(&rig).await;
    let id = &listed.iter().find(|worker| worker["url"] == drained).unwrap()["id"];
    let path = format!("/workers/{id}");
    let (status, _) = rig.call(Method::PATCH, &path, json!({ "draining": true })).await;
    assert_eq!(status, 204);
    for _ in 0..10 {
        assert_ne!(rig.chat("new work", 2).await.unwrap().worker.unwrap(), drained);
    }
    for body in streams {
        assert!(body.collect().await.unwrap().to_bytes().ends_with(b"data: [DONE]\n\n"));
    }
    rig.idle().await;
    assert_eq!(rig.engines[0].stats().succeeded, 1);

    rig.call(Method::PATCH, &path, json!({ "draining": false })).await;
    let mut served = Vec::new();
    for _ in 0..2 {
        served.push(rig.chat("shared again", 2).await.unwrap().worker.unwrap());
    }
    assert!(served.contains(&drained));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_can_be_switched_while_requests_run() {
    let rig = Rig::new(&[(Regular, fast()), (Regular, fast())]).await;
    let mut body = rig.begin("before", 20_000).await;
    next_piece(&mut body).await.unwrap().unwrap();
    let policies = [json!("cache_aware"), json!({ "power_of_two": {} }), json!("random")];
    for policy in policies {
        assert_eq!(rig.call(Method::PUT, "/policy", policy).await.0, 204);
        rig.chat("after", 2).await.unwrap();
    }
    let wrong = [json!("no_such_policy"), json!({ "cache_aware": { "rule": "guess" } })];
    for policy in wrong {
        let (status, answer) = rig.call(Method::PUT, "/policy", policy).await;
        assert!(status == 400 || status == 422, "{status}: {answer}");
    }
    body.collect().await.unwrap();
    rig.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_the_librarys_and_the_gateways() {
    let rig = Rig::new(&[(Regular, fast())]).await;
    rig.chat("count me", 2).await.unwrap();
    rig.idle().await;
    assert_eq!(rig.metric("gateway_requests_total").await, 1.0);
    assert_eq!(rig.metric("gateway_first_byte_seconds_count").await, 1.0);
    assert_eq!(rig.metric("pointsman_worker_selections_total").await, 1.0);
    assert!(rig.metrics().await.ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_that_of_the_workers() {
    let rig = Rig::new(&[(Regular, fast())]).await;
    assert_eq!(rig.call(Method::GET, "/health", json!(null)).await.0, 200);
    let id = rig.gateway.router().workers()[0].info.id;
    rig.gateway.router().set_health(id, pointsman::HostHealth::Unhealthy).unwrap();
    assert_eq!(rig.call(Method::GET, "/health", json!(null)).await.0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_caches_are_forgotten() {
    let rig = Rig::new(&[(Regular, fast()), (Regular, fast())]).await;
    let ids = || rig.gateway.router().workers().iter().map(|it| it.info.id).collect::<Vec<_>>();
    let before = ids();
    let question = "How many trains pass the junction on a Sunday? ".repeat(20);
    rig.chat(&question, 3).await.unwrap();
    rig.idle().await;
    let (status, answer) = rig.call(Method::POST, "/flush_cache", json!(null)).await;
    assert_eq!((status, &answer["workers"][rig.engines[0].url()]), (200, &json!(200)));
    assert!(ids().iter().all(|id| !before.contains(id)));
    for _ in 0..2 {
        rig.chat(&question, 3).await.unwrap();
    }
    rig.idle().await;
    assert!(rig.engines.iter().all(|engine| engine.stats().cached_tokens == 0));
    // An engine that is at work keeps its cache, and the caller hears of it.
    let mut body = rig.begin("a long answer", 3_000_000).await;
    next_piece(&mut body).await.unwrap().unwrap();
    assert_eq!(rig.call(Method::POST, "/flush_cache", json!(null)).await.0, 502);
}

async fn workers(rig: &Rig) -> Vec<Value> {
    let (status, listed) = rig.call(Method::GET, "/workers", json!(null)).await;
    assert_eq!(status, 200);
    listed["workers"].as_array().unwrap().clone()
}
