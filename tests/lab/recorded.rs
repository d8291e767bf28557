//! A run that another simulator recorded: 1,000 requests of a real trace on 8 workers, with every
//! score of the least-work rule and every first token (`data/least-work.jsonl.gz`).

use serde_json::Value;

use super::baseline::{Baseline, RuleView, least_work::LeastWork, shell::Shell};
use super::script::Script;
use super::sim::{self, arrivals, fleet::Fleet, oracle};
use super::trace::{self, Trace};

const TRACE: &[u8] = include_bytes!("../data/mooncake_1000.jsonl.gz");
const RECORD: &[u8] = include_bytes!("../data/least-work.jsonl.gz");

/// A tenth of the trace's 20,527 distinct prompt blocks, shared by 8 workers.
const CAPACITY: usize = 256;

fn record() -> Vec<Value> {
    let text = trace::text(RECORD).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The trace of the recording.
pub(super) fn real_trace() -> Trace {
    trace::parse(TRACE, "mooncake_1000.jsonl.gz").unwrap()
}

fn index(event: &Value, key: &str) -> usize {
    event[key].as_u64().unwrap() as usize
}

fn time(event: &Value) -> f64 {
    event["now"].as_f64().unwrap()
}

#[test]
fn the_simulator_reproduces_every_recorded_first_token() {
    let (trace, fleet) = (real_trace(), Fleet::standard(8, CAPACITY));
    let mut picks = vec![0; 1000];
    let mut times = vec![0.0; 1000];
    let record = record();
    for event in record.iter().filter(|event| event["e"] == "select") {
        picks[index(event, "id")] = index(event, "pick");
        times[index(event, "id")] = time(event);
    }
    let gateway = Box::new(Shell::new(&trace, &fleet, Script { picks }, 0));
    let run = sim::engine::run(&trace, &fleet, &times, &mut [gateway], 0);
    for event in record.iter().filter(|event| event["e"] == "first_token") {
        let served = &run.served[index(event, "id")];
        let off = served.arrival + served.first_token - time(event);
        assert!(off.abs() < 1e-3, "{event}: {off} s off");
        assert_eq!(served.cached as usize, index(event, "cached"), "{event}");
    }
}

#[test]
fn arrivals_are_scaled_as_in_the_record() {
    let (trace, fleet) = (real_trace(), Fleet::standard(8, CAPACITY));
    assert_eq!(trace.distinct_input, 20_527);
    let oracle = oracle::shared(&trace, trace.distinct_input / 10);
    let span = arrivals::span_for(&trace, &fleet, &oracle, 0.85);
    let times = arrivals::times(&trace, arrivals::Process::Trace, span, 0);
    for event in record().iter().filter(|event| event["e"] == "select") {
        let at = times[index(event, "id")];
        assert!((at - time(event)).abs() < 1e-4, "{event}: {at}");
    }
}

/// The rule as written, fed with the record, gives each score to 1e-4.
#[test]
fn the_rule_as_written_reproduces_every_recorded_score() {
    let mut rule = LeastWork::new(8, 1000);
    let workers: Vec<usize> = (0..8).collect();
    let mut picks = vec![0; 1000];
    for event in record() {
        let id = index(&event, "id");
        if event["e"] == "first_token" {
            rule.first_token(time(&event), id, picks[id], index(&event, "cached") as u32);
            continue;
        }
        let resident = event["resident"].as_array().unwrap().iter();
        let leading: Vec<usize> =
            resident.map(|tokens| tokens.as_u64().unwrap() as usize).collect();
        let view = RuleView {
            id,
            now: time(&event),
            input: index(&event, "tokens") as u32,
            block: 1,
            blocks: &[],
            eligible: &workers,
            leading: &leading,
        };
        let pick = index(&event, "pick");
        picks[id] = pick;
        let scores = rule.score(&view);
        for (worker, expected) in event["score"].as_array().unwrap().iter().enumerate() {
            let expected = expected.as_f64().unwrap();
            let score = scores[worker];
            assert!((score / expected - 1.0).abs() < 1e-4, "{id} on {worker}: {score}, {expected}");
        }
        let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(scores[pick] <= least * (1.0 + 1e-6));
        rule.charge(&view, pick);
    }
}
