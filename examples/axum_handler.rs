//! An axum handler that asks the adapter, the original proposal's async trait. It serves one request, and ends.
//!
//! `cargo run --features async --example axum_handler`

use std::sync::{Arc, atomic::AtomicUsize};

use axum::{Json, extract::State, http::Request, routing::post};
use hyper::service::Service;
use pointsman::adapter::{Adapter, RoutingPolicy};
use pointsman::{PolicyConfig, Worker};
use serde_json::{Value, json};

#[derive(Debug)]
struct Engine(&'static str, AtomicUsize);

#[rustfmt::skip]
impl Worker for Engine {
    fn url(&self) -> &str { self.0 }
    fn is_healthy(&self) -> bool { true }
    fn load(&self) -> &AtomicUsize { &self.1 }
}

type Gateway = Arc<(Adapter, Vec<Arc<dyn Worker>>)>;

async fn chat(
    State(gateway): State<Gateway>,
    Json(body): Json<Value>,
) -> Result<Json<Value>, String> {
    let (policy, engines) = &*gateway;
    let engine = policy.select_single(engines, &body).await.map_err(|error| error.to_string())?;
    let answer = json!({"served_by": engine.url()}); // Here the body is sent to that URL.
    policy.on_request_complete(engine.url(), true);
    Ok(Json(answer))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = |url| Arc::new(Engine(url, AtomicUsize::new(0))) as Arc<dyn Worker>;
    let engines = ["http://10.0.0.7:8000", "http://10.0.0.8:8000"].map(engine).to_vec();
    let gateway = Arc::new((Adapter::from_config(&PolicyConfig::default())?, engines));
    let app = axum::Router::new().route("/v1/chat/completions", post(chat)).with_state(gateway);
    let body = r#"{"messages": [{"role": "user", "content": "Why is the sky blue?"}]}"#;
    let request = Request::post("/v1/chat/completions").header("content-type", "application/json");
    let app = hyper_util::service::TowerToHyperService::new(app); // or axum::serve(listener, app)
    let answer = app.call(request.body(axum::body::Body::from(body))?).await?;
    println!("{} {:?}", answer.status(), axum::body::to_bytes(answer.into_body(), 1 << 20).await?);
    Ok(())
}
