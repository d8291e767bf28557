//! Match, pick and remember, beside the trees and indexes of the peers.
//!
//! The bars are about matching first and inserting after the pick, and about blocks of the size that
//! engines have by default. In brackets, for comparison: kv-index's calls that do both in one walk, with
//! the pick inside, and blocks as large as the library's own.

use crate::peers::{dynamo, kv_index};
use crate::support::bars::{Bar, Limit};
use crate::support::cache_aware::speed::{self, Contestant, OURS, name};
use crate::support::samples::{Samples, Thoroughness};

/// How many times faster than the peers, on W1, W2 and W3.
const TEXT: [f64; 3] = [8.0, 8.0, 3.0];
const TOKENS: [f64; 3] = [3.0, 2.5, 1.2];

pub fn measure(thoroughness: Thoroughness) -> Vec<Bar> {
    let peers = kv_index::CONTESTANTS.into_iter().chain(dynamo::CONTESTANTS);
    let all: Vec<Contestant> = OURS.into_iter().chain(peers).collect();
    let samples = speed::measure(thoroughness, &all);
    println!("\nFor comparison: times as long as the router, round by round; no bars");
    for peer in samples.names().filter(|name| name.contains('(')) {
        let (column, _) = peer.split_once(' ').expect("names begin with the column");
        let workload = peer.find('W').map_or("", |at| &peer[at..at + 2]);
        let ratio = samples.ratio(peer, &format!("{column} {workload}: router"));
        println!("{peer:<52}{ratio:>26}");
    }
    let bars = |tokens: bool, limits: [f64; 3]| {
        let limits = (1..).zip(limits);
        limits.map(|(workload, limit)| faster(&samples, tokens, workload, limit)).collect()
    };
    let all: [Vec<Bar>; 2] = [bars(false, TEXT), bars(true, TOKENS)];
    all.into_iter().flatten().collect()
}

/// How many times as fast as the fastest peer on this workload.
fn faster(samples: &Samples, tokens: bool, workload: usize, limit: f64) -> Bar {
    let all = name(tokens, workload, "");
    let ours = name(tokens, workload, "router");
    let is_peer = |other: &str| other.starts_with(&all) && other != ours && !other.contains('(');
    let peer = samples.fastest(is_peer).expect("there are peers");
    let what = format!("{peer} over the router");
    Bar::new(what, Limit::AtLeast(limit), samples.ratio(peer, &ours))
}
