//! The least-work rule against its vectors: 1,000 requests on 8 workers, every score given.
//!
//! The vectors come from the rule as written, with a queue kept per worker. The library's formula is
//! fed with that exact state and must reproduce every score. The policy itself keeps no queue; how
//! far its scores are from the exact ones, and how often it would choose another worker, is measured
//! and held to a bound.

use std::collections::VecDeque;
use std::io::Read;

use flate2::read::GzDecoder;
use pointsman::internals::formula;
use serde_json::Value;

const WORKERS: usize = 8;

/// The rule's state as written: exact queues, seconds as `f64`.
struct Exact {
    queues: [VecDeque<Queued>; WORKERS],
    last_done: [f64; WORKERS],
    busy_since: [f64; WORKERS],
    reliability: [f64; WORKERS],
    rho: f64,
    mean_work: f64,
    work_sum: f64,
    time_sum: f64,
}

#[derive(Clone, Copy)]
struct Queued {
    id: u64,
    work: u32,
    believed: u32,
    at: f64,
}

impl Exact {
    fn new() -> Self {
        Exact {
            queues: Default::default(),
            last_done: [0.0; WORKERS],
            busy_since: [0.0; WORKERS],
            reliability: [1.0; WORKERS],
            rho: 0.3,
            mean_work: 1000.0,
            work_sum: 0.0,
            time_sum: 0.0,
        }
    }

    fn rate(&self) -> f64 {
        if self.time_sum > 0.0 { self.work_sum / self.time_sum } else { 8000.0 }
    }

    fn queued(&self, worker: usize) -> f64 {
        self.queues[worker].iter().map(|queued| f64::from(queued.work)).sum()
    }

    /// Backlog with the head of the queue known.
    fn exact_backlog(&self, worker: usize, now: f64) -> f64 {
        let Some(head) = self.queues[worker].front() else { return 0.0 };
        let since = head.at.max(self.last_done[worker]);
        formula::backlog(self.queued(worker), head.work.into(), now - since, self.rate(), 0.95)
    }

    /// Backlog as the policy knows it: the head is the mean, its start that of the busy period.
    fn simplified_backlog(&self, worker: usize, now: f64) -> f64 {
        let pending = self.queues[worker].len();
        if pending == 0 {
            return 0.0;
        }
        let queued = self.queued(worker);
        let since = self.busy_since[worker].max(self.last_done[worker]);
        formula::backlog(queued, queued / pending as f64, now - since, self.rate(), 0.95)
    }

    fn dispatch(&mut self, worker: usize, queued: Queued) {
        self.mean_work += 0.01 * (f64::from(queued.work) - self.mean_work);
        if self.queues[worker].is_empty() {
            self.busy_since[worker] = queued.at;
        }
        self.queues[worker].push_back(queued);
    }

    fn first_token(&mut self, worker: usize, id: u64, now: f64, cached: f64) {
        let place = self.queues[worker].iter().position(|queued| queued.id == id).unwrap();
        let done = self.queues[worker].remove(place).unwrap();
        let seconds = now - done.at.max(self.last_done[worker]);
        if seconds > 0.0 {
            self.work_sum = self.work_sum * 0.99 + f64::from(done.work);
            self.time_sum = self.time_sum * 0.99 + seconds;
        }
        self.last_done[worker] = now;
        let reliability = &mut self.reliability[worker];
        let predicted = f64::from(done.believed) / reliability.max(0.05);
        if predicted > 0.0 {
            *reliability += 0.03 * ((cached / predicted).min(1.0) - *reliability);
        }
    }
}

fn vectors() -> Vec<Value> {
    let bytes = include_bytes!("../../data/least-work.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_formula_reproduces_every_score_and_the_simplified_state_stays_close() {
    let mut state = Exact::new();
    let mut dispatched = std::collections::HashMap::new();
    let (mut worst, mut scores, mut other_choice, mut selects) = (0f64, 0u32, 0u32, 0u32);
    let mut deviations = Vec::new();
    for event in vectors() {
        let (id, now) = (event["id"].as_u64().unwrap(), event["now"].as_f64().unwrap());
        if event["e"] == "first_token" {
            let worker = dispatched[&id];
            state.first_token(worker, id, now, event["cached"].as_f64().unwrap());
            continue;
        }
        let tokens = event["tokens"].as_u64().unwrap() as u32;
        let busy = state.queues.iter().filter(|queue| !queue.is_empty()).count();
        state.rho += 0.005 * (busy as f64 / WORKERS as f64 - state.rho);
        let kappa = formula::kappa(state.rho, 9.0);
        let mut simplified = [0.0; WORKERS];
        let mut believed = [0; WORKERS];
        for worker in 0..WORKERS {
            let resident = event["resident"][worker].as_u64().unwrap() as u32;
            believed[worker] = formula::believed(state.reliability[worker], resident, tokens);
            let work = formula::work(tokens, believed[worker], formula::OVERHEAD_TOKENS).into();
            let pressure = formula::pressure(kappa, state.mean_work);
            let score = |backlog| formula::score(backlog, work, pressure);
            let expected = event["score"][worker].as_f64().unwrap();
            let exact = score(state.exact_backlog(worker, now));
            worst = worst.max((exact - expected).abs() / expected);
            simplified[worker] = score(state.simplified_backlog(worker, now));
            deviations.push((simplified[worker] - expected).abs() / expected);
            scores += 1;
        }
        let worker = event["pick"].as_u64().unwrap() as usize;
        let least = simplified.iter().copied().fold(f64::INFINITY, f64::min);
        other_choice += u32::from(simplified[worker] > least);
        selects += 1;
        let work = formula::work(tokens, believed[worker], formula::OVERHEAD_TOKENS);
        state.dispatch(worker, Queued { id, work, believed: believed[worker], at: now });
        dispatched.insert(id, worker);
    }
    deviations.sort_by(f64::total_cmp);
    let at = |share: f64| deviations[(share * (deviations.len() - 1) as f64) as usize];
    println!(
        "{scores} scores, worst exact deviation {worst:.1e}; simplified state: median {:.4}, p95 \
         {:.4}, another choice in {other_choice} of {selects}",
        at(0.5),
        at(0.95),
    );
    assert_eq!(scores, 8000);
    assert!(worst < 1e-4, "a score deviates by {worst:e}");
    // The vectors drive the queues hard, and where the head differs from the mean the backlog does.
    // What that costs in time to first token is measured by the lab.
    assert!(at(0.5) < 1e-3, "the median deviation of the simplified scores is {}", at(0.5));
    assert!(other_choice * 10 < selects * 3, "{other_choice} of {selects} choices differ");
}
