#!/usr/bin/env bash
# Crates: tower 0.5.3 (feature load), tokio 1.54.1 (its paused clock, so no real time passes)
#
# Guess: PeakEwma is there to be quick about bad news, so an engine that hangs gets dearer the longer its request is out, and
#   traffic stays with the other one.
# Seen: bad news is only what has arrived. While a request is out, the estimate falls by itself, by the decay time, as it does for
#   an idle engine, and only the factor (requests out + 1) holds against it. The cost of an engine that never answers goes to 0:
#   below that of one that answers in 200 ms after some 20 s, and of 480 requests it gets 298.
# Output (decay 10 s, a request every 250 ms to the cheaper of two engines, one of which never answers):
#   cost of the hung engine, one request out: 1.64 at 2 s, 0.74 at 10 s, 0.27 at 20 s
#   requests sent to it in 10 s, 30 s, 60 s, 120 s: [1, 3, 60, 298]
source "$(dirname "$0")/common/setup.bash"
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
tower = { version = "=0.5.3", features = ["load"] }
tokio = { version = "=1.54.1", features = ["rt", "time", "macros", "test-util"] }
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::{convert::Infallible, future::Future, pin::Pin, task::Context, task::Poll, time::Duration};
use tower::load::{CompleteOnResponse, Load, PeakEwma};
use tower::Service;

struct Engine(Duration);

impl Service<()> for Engine {
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>>>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, _: ()) -> Self::Future {
        let delay = self.0;
        Box::pin(async move { Ok(tokio::time::sleep(delay).await) })
    }
}

type Measured = PeakEwma<Engine>;

fn measured(delay: Duration) -> Measured {
    // Where nothing is known, an answer is expected to take 1 s. Costs are in nanoseconds.
    PeakEwma::new(Engine(delay), Duration::from_secs(1), 10e9, CompleteOnResponse::default())
}

fn seconds(engine: &Measured) -> f64 {
    // The type of a cost shows its number in its Debug text only.
    let text = format!("{:?}", engine.load());
    text.trim_start_matches("Cost(").trim_end_matches(')').parse::<f64>().unwrap() / 1e9
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    let hours = Duration::from_secs(36_000);
    let mut hung = measured(hours);
    let out = hung.call(());
    let mut costs = Vec::new();
    for pause in [2, 8, 10] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        costs.push(seconds(&hung));
    }
    drop(out);
    println!("cost of the hung engine, one request out: {:.2} at 2 s, {:.2} at 10 s, {:.2} at 20 s", costs[0], costs[1], costs[2]);
    assert!(costs[0] > costs[1] && costs[1] > costs[2] && costs[2] < 0.5);

    let (mut hung, mut sound) = (measured(hours), measured(Duration::from_millis(200)));
    let (mut lost, mut counts) = (Vec::new(), Vec::new());
    let mut beat = tokio::time::interval(Duration::from_millis(250));
    for second in 1..=120 {
        for _ in 0..4 {
            beat.tick().await;
            if hung.load() <= sound.load() {
                lost.push(hung.call(()));
            } else {
                sound.call(()).await.unwrap();
            }
        }
        if [10, 30, 60, 120].contains(&second) {
            counts.push(lost.len());
        }
    }
    println!("requests sent to it in 10 s, 30 s, 60 s, 120 s: {counts:?}");
    assert!(counts[0] >= 1 && counts[2] > counts[1] && counts[3] >= 10);
}
RUST
(cd "$folder" && cargo run --quiet)
