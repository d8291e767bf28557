//! The simulator where there is a formula or an independent computation.

use super::baseline::shell::Shell;
use super::script::Script;
use super::sim::arrivals::{self, Process};
use super::sim::fleet::{Fleet, WorkerModel};
use super::sim::oracle;
use super::sim::outcome::mean;
use super::sim::rng::Rng;
use super::trace::RawRequest;
use super::{run, trace_of};

/// M/D/1: with Poisson arrivals and a constant service time S at utilisation u, the mean wait is
/// u * S / (2 * (1 - u)) (Pollaczek and Khinchine).
#[test]
fn poisson_arrivals_wait_as_long_as_an_m_d_1_queue() {
    let count = 200_000;
    let request = |_| RawRequest { input: 1000, output: 1, ..RawRequest::default() };
    let trace = trace_of(512, (0..count).map(request));
    let fleet = Fleet::standard(1, 100_000);
    let service = fleet.workers[0].overhead + 1000.0 / fleet.workers[0].prefill_rate;
    for utilisation in [0.3, 0.6, 0.75] {
        let span = f64::from(count) * service / utilisation;
        let times = arrivals::times(&trace, Process::Poisson, span, 7);
        let script = Script { picks: Vec::new() };
        let gateway = Box::new(Shell::new(&trace, &fleet, script, 0));
        let run = super::sim::engine::run(&trace, &fleet, &times, &mut [gateway], 7);
        let waits: Vec<f64> =
            run.served.iter().map(|served| served.first_token - service).collect();
        let expected = utilisation * service / (2.0 * (1.0 - utilisation));
        let error = mean(&waits) / expected - 1.0;
        assert!(error.abs() < 0.05, "utilisation {utilisation}: off by {:.1}%", error * 100.0);
    }
}

/// A worker that serves one request at a time is a plain LRU cache of blocks.
#[test]
fn a_single_worker_hits_as_often_as_a_naive_lru_list() {
    let capacity = 60;
    let mut rng = Rng::new(11);
    let requests: Vec<RawRequest> = (0..3000)
        .map(|index| {
            let document = rng.below(12) * rng.below(3);
            let length = 1 + rng.below(8);
            let blocks = (0..length).map(|block| (document * 100 + block) as u64).collect();
            RawRequest {
                arrival: f64::from(index) * 10.0,
                input: length as u32 * 16 + 5,
                output: 1,
                blocks,
                ..RawRequest::default()
            }
        })
        .collect();
    let trace = trace_of(16, requests.clone());
    let fleet = Fleet::standard(1, capacity);
    let script = Script { picks: Vec::new() };
    let simulated = run(&trace, &fleet, Box::new(Shell::new(&trace, &fleet, script, 0)));

    // Newest first. A request also needs a place for its last, partly filled block while it runs.
    let mut list: Vec<u64> = Vec::new();
    for (request, served) in requests.iter().zip(&simulated.served) {
        let hits = request.blocks.iter().take_while(|block| list.contains(block)).count();
        let expected = (hits as u32 * 16).min(request.input - 1);
        assert_eq!(served.cached, expected);
        let kept: Vec<u64> =
            list.iter().copied().filter(|block| !request.blocks.contains(block)).collect();
        list = request.blocks.iter().copied().chain(kept).collect();
        list.truncate(capacity - 1);
    }
}

/// Two sequences decode together: each token takes `step + 2 * step_per_sequence` while both run.
#[test]
fn decode_slows_down_with_the_batch() {
    let fleet = Fleet {
        workers: vec![WorkerModel {
            overhead: 0.0,
            prefill_rate: 1e9,
            ..WorkerModel::standard(1000)
        }],
        ..Fleet::standard(1, 1000)
    };
    let request = |output| RawRequest { input: 10, output, ..RawRequest::default() };
    let trace = trace_of(512, [request(101), request(201)]);
    let script = Script { picks: Vec::new() };
    let run = run(&trace, &fleet, Box::new(Shell::new(&trace, &fleet, script, 0)));
    let together = 100.0 * (0.015 + 2.0 * 0.0003);
    let alone = 100.0 * (0.015 + 0.0003);
    assert!((run.served[0].finished - together).abs() < 1e-3, "{:?}", run.served);
    assert!((run.served[1].finished - together - alone).abs() < 1e-3, "{:?}", run.served);
}

/// The batch holds so many sequences at most; the next one waits for the first to end.
#[test]
fn admission_waits_for_a_place_in_the_batch_and_for_kv_space() {
    let request = || RawRequest { input: 1000, output: 101, ..RawRequest::default() };
    let trace = trace_of(512, [request(), request()]);
    let second_start = |fleet: &Fleet| {
        let script = Script { picks: Vec::new() };
        let run = run(&trace, fleet, Box::new(Shell::new(&trace, fleet, script, 0)));
        run.served[1].first_token - 0.12
    };
    let roomy = Fleet::standard(1, 100);
    let one_sequence = Fleet {
        workers: vec![WorkerModel { max_sequences: 1, ..WorkerModel::standard(100) }],
        ..Fleet::standard(1, 100)
    };
    // A request takes 3 blocks with its output, and nothing is shared.
    let one_fits = Fleet::standard(1, 5);
    let alone = 0.12 + 100.0 * 0.0153;
    assert!((second_start(&roomy) - 0.12).abs() < 1e-6);
    assert!((second_start(&one_sequence) - alone).abs() < 1e-6);
    assert!((second_start(&one_fits) - alone).abs() < 1e-6);
}

#[test]
fn a_request_larger_than_the_cache_is_served_alone() {
    let request = || RawRequest { input: 10_000, output: 10, ..RawRequest::default() };
    let trace = trace_of(512, [request(), request()]);
    let fleet = Fleet::standard(1, 4);
    let script = Script { picks: Vec::new() };
    let run = run(&trace, &fleet, Box::new(Shell::new(&trace, &fleet, script, 0)));
    assert!(run.served.iter().all(|served| served.first_token.is_finite()));
}

#[test]
fn the_infinite_oracle_saves_every_repeated_leading_block() {
    let request = |blocks: &[u64]| RawRequest {
        input: blocks.len() as u32 * 16,
        output: 1,
        blocks: blocks.to_vec(),
        ..RawRequest::default()
    };
    let trace =
        trace_of(16, [request(&[1, 2, 3, 4]), request(&[1, 2, 9, 4]), request(&[1, 2, 3, 4])]);
    let infinite = oracle::shared(&trace, usize::MAX);
    // 0, then 2 blocks, then all but the last token.
    assert!((infinite.hit_share - f64::from(32 + 63) / 192.0).abs() < 1e-9);
    assert_eq!(oracle::shared(&trace, 0).hit_share, 0.0);
}

/// A dependent request comes when the one before it has ended and the think time is over.
#[test]
fn closed_loops_wait_for_their_predecessor() {
    let first = RawRequest { input: 1000, output: 101, ..RawRequest::default() };
    let second = RawRequest { after: Some(0), gap: 2.0, ..first.clone() };
    let trace = trace_of(512, [first, second]);
    let fleet = Fleet::standard(1, 1000);
    let script = Script { picks: Vec::new() };
    let run = run(&trace, &fleet, Box::new(Shell::new(&trace, &fleet, script, 0)));
    assert!((run.served[1].arrival - run.served[0].finished - 2.0).abs() < 1e-9);
}
