//! An axum handler that asks the adapter, the original proposal's async trait, for each request. It
//! serves itself one request on loopback, and ends.
//!
//! `cargo run --features async --example axum_handler`

use std::sync::{Arc, atomic::AtomicUsize};

use axum::{Json, extract::State, http::StatusCode, routing::post};
use pointsman::adapter::{Adapter, RoutingPolicy};
use pointsman::{PolicyConfig, Worker};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Debug)]
struct Engine(&'static str, AtomicUsize);

impl Worker for Engine {
    fn url(&self) -> &str {
        self.0
    }
    fn is_healthy(&self) -> bool {
        true
    }
    fn load(&self) -> &AtomicUsize {
        &self.1
    }
}

type Gateway = Arc<(Adapter, Vec<Arc<dyn Worker>>)>;

async fn chat(
    State(gateway): State<Gateway>,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let (policy, engines) = &*gateway;
    match policy.select_single(engines, &body).await {
        Ok(engine) => {
            let answer = json!({"served_by": engine.url()}); // Here the body is sent to that URL.
            policy.on_request_complete(engine.url(), true);
            (StatusCode::OK, Json(answer))
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"error": error.to_string()}))),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = |url| Arc::new(Engine(url, AtomicUsize::new(0))) as Arc<dyn Worker>;
    let engines = ["http://10.0.0.7:8000", "http://10.0.0.8:8000"].map(engine).to_vec();
    let gateway = Arc::new((Adapter::from_config(&PolicyConfig::default())?, engines));
    let app = axum::Router::new().route("/v1/chat/completions", post(chat)).with_state(gateway);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut client = tokio::net::TcpStream::connect(listener.local_addr()?).await?;
    tokio::spawn(async { axum::serve(listener, app).await });

    let body = r#"{"messages": [{"role": "user", "content": "Why is the sky blue?"}]}"#;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/json\r\nContent-Length: ";
    client.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    println!("{answer}");
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err("not served".into()) }
}
