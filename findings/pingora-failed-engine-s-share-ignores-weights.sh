#!/usr/bin/env bash
# Crate: pingora-load-balancing 0.9.1
#
# Guess: where an engine fails its health check, the others take its share by their weights: beside engines of weight 8 and 1,
#   the failure of a second one of weight 8 leaves them 89% and 11%.
# Seen: the weights hold for the first choice only. Where that falls on the failed engine, the next one is drawn from the plain
#   list, in which all weigh the same: the engine of weight 1 gets 29%, five times what it had, and more than two and a half
#   times what its weight says.
# Output (shares of 100,000 random choices, in percent):
#   all well:        weight 8: 47   weight 8: 47   weight 1: 6
#   one failed:      weight 8: 71   weight 8: 0    weight 1: 29
source "$(dirname "$0")/common/setup.bash"
source "$(dirname "$0")/common/pingora.bash"
cat >"$folder/src/main.rs" <<'RUST'
use pingora_load_balancing::{discovery::Static, selection::Random, Backend, Backends, LoadBalancer};

/// The engines' shares in percent, where the one with this letter is not well.
fn shares(failed: Option<char>) -> [u64; 3] {
    let backends = [8, 8, 1].iter().enumerate().map(|(number, &weight)| {
        Backend::new_with_weight(&format!("10.0.0.{}:80", number + 1), weight).unwrap()
    });
    let balancer: LoadBalancer<Random> =
        LoadBalancer::from_backends(Backends::new(Static::new(backends.collect())));
    finding::update(&balancer);
    let mut counts = [0u64; 3];
    for _ in 0..100_000 {
        // What `select` does, with the health that a check would have found.
        let is_well = |backend: &Backend, _: bool| Some(finding::letter(backend)) != failed;
        let chosen = balancer.select_with(b"", 64, is_well).unwrap();
        counts[finding::letter(&chosen) as usize - 'A' as usize] += 1;
    }
    counts.map(|count| (count + 500) / 1000)
}

fn main() {
    let (well, failed) = (shares(None), shares(Some('B')));
    for (what, [first, second, third]) in [("all well:", well), ("one failed:", failed)] {
        println!("{what:16} weight 8: {first:<4} weight 8: {second:<4} weight 1: {third}");
    }
    assert!(well[2].abs_diff(6) <= 1 && failed[2].abs_diff(29) <= 2 && failed[1] == 0);
}
RUST
cargo_run
