#!/usr/bin/env bash
# Crates: tower 0.5.3 (feature load), tokio 1.54.1
#
# Guess: PendingRequests counts an engine's requests until they are over. For a streamed answer that is the end of the
#   stream, so an engine that streams 50 answers has a load of 50.
# Seen: with its usual CompleteOnResponse the count ends when the response is there, before the first token of its body. The
#   count is of requests in prefill: an engine in the midst of 50 streams shows 0 and wins every power of two choices
#   against an engine that has one prompt to read.
# Output:
#   50 prompts being read:          load Count(50)
#   50 answers being streamed:      load Count(0)
source "$(dirname "$0")/common/setup.bash"
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
tower = { version = "=0.5.3", features = ["load"] }
tokio = { version = "=1.54.1", features = ["rt", "time", "macros", "sync", "test-util"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::{convert::Infallible, future::Future, pin::Pin, task::Context, task::Poll, time::Duration};
use tokio::{sync::mpsc, time::sleep};
use tower::load::{CompleteOnResponse, Load, PendingRequests};
use tower::Service;

/// Reads a prompt for a second, then streams 200 tokens, one each 20 ms.
struct Engine;

impl Service<()> for Engine {
    type Response = mpsc::Receiver<u32>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: ()) -> Self::Future {
        Box::pin(async {
            sleep(Duration::from_secs(1)).await;
            let (tokens, body) = mpsc::channel(1);
            tokio::spawn(async move {
                for token in 0..200 {
                    sleep(Duration::from_millis(20)).await;
                    let _ = tokens.send(token).await;
                }
            });
            Ok(body)
        })
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let mut engine = PendingRequests::new(Engine, CompleteOnResponse::default());
    let calls: Vec<_> = (0..50).map(|_| engine.call(())).collect();
    let reading = format!("{:?}", engine.load());
    println!("50 prompts being read:          load {reading}");
    let mut bodies = Vec::new();
    for call in calls {
        bodies.push(call.await.unwrap());
    }
    for body in &mut bodies {
        assert_eq!(body.recv().await, Some(0)); // each has begun to stream, 199 tokens are to come
    }
    let streaming = format!("{:?}", engine.load());
    println!("50 answers being streamed:      load {streaming}");
    assert_eq!((&*reading, &*streaming), ("Count(50)", "Count(0)"));
}
RUST
(cd "$folder" && cargo run --quiet)
