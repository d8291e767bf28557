#!/usr/bin/env bash
# Crate: pingora-load-balancing 0.9.1
#
# Guess: round robin by weight takes turns as evenly as it can, as nginx and HAProxy do: an engine of weight 8 beside two of
#   weight 1 gets never more than four or five requests in a row.
# Seen: an engine's whole weight comes at once. The list that is gone through has every engine as often as it weighs, one behind
#   the other: 8 requests in a row, and of ten prompts that come together eight queue at one engine while another gets one.
#   Weights of 80, 10 and 10, which mean the same, send 80 in a row.
# Output (the choices of one round, and the most in a row):
#   weights 8 1 1:     AAAAAAAABC, at most 8 in a row
#   weights 80 10 10:  at most 80 in a row
source "$(dirname "$0")/common/setup.bash"
source "$(dirname "$0")/common/pingora.bash"
cat >"$folder/src/main.rs" <<'RUST'
use pingora_load_balancing::{discovery::Static, selection::RoundRobin, Backend, Backends, LoadBalancer};

/// The letters of the engines chosen, one after the other.
fn choices(weights: [usize; 3], count: usize) -> String {
    let backends = weights.iter().enumerate().map(|(number, &weight)| {
        Backend::new_with_weight(&format!("10.0.0.{}:80", number + 1), weight).unwrap()
    });
    let balancer: LoadBalancer<RoundRobin> =
        LoadBalancer::from_backends(Backends::new(Static::new(backends.collect())));
    finding::update(&balancer);
    (0..count).map(|_| finding::letter(&balancer.select(b"", 16).unwrap())).collect()
}

fn longest(choices: &str) -> usize {
    let runs = choices.as_bytes().chunk_by(|a, b| a == b);
    runs.map(<[u8]>::len).max().unwrap()
}

fn main() {
    let round = choices([8, 1, 1], 10);
    println!("weights 8 1 1:     {round}, at most {} in a row", longest(&round));
    let large = longest(&choices([80, 10, 10], 100));
    println!("weights 80 10 10:  at most {large} in a row");
    assert_eq!((round.as_str(), longest(&round), large), ("AAAAAAAABC", 8, 80));
}
RUST
cargo_run
