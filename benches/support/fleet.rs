//! A router in use: some requests are in flight at any time, the oldest is completed before the
//! next one is routed.

use std::collections::VecDeque;
use std::time::Instant;

use pointsman::{Outcome, Request, Router, RouterConfig, Selection, Usage, WorkerId, WorkerSpec};

use super::workloads::Workload;

/// Requests in flight.
pub const IN_FLIGHT: usize = 64;
pub const MIB: usize = 1 << 20;

/// One thread's share of a router's work.
pub struct Fleet {
    pub router: Router,
    open: VecDeque<Selection>,
}

impl Fleet {
    /// A cache-aware router with its default rule and this many workers.
    pub fn new(workers: usize, budget_bytes: usize) -> Fleet {
        let mut config = RouterConfig::default();
        config.max_workers = workers;
        config.tree.budget_bytes = budget_bytes;
        let router = Router::new(config).expect("the configuration is valid");
        for worker in 0..workers {
            let url = format!("http://10.0.{}.{}:8000", worker / 256, worker % 256);
            router.add_worker(WorkerSpec::new(url)).expect("there is room");
        }
        Fleet::of(router)
    }

    /// As [`Fleet::new`], after the router has served [`Workload::warm_up`]: the first touch of its
    /// memory is a cost of its start, not of a request.
    pub fn warm(workers: usize, budget_bytes: usize, warm_up: &mut Workload) -> Fleet {
        let mut fleet = Fleet::new(workers, budget_bytes);
        fleet.texts(warm_up);
        fleet
    }

    /// Another thread's share of the same router.
    pub fn of(router: Router) -> Fleet {
        Fleet { router, open: VecDeque::with_capacity(IN_FLIGHT) }
    }

    /// One `select`, and one `complete` of an older request; the chosen worker, and the leading
    /// prompt tokens that it is believed to hold.
    pub fn serve(&mut self, request: &Request<'_>) -> (WorkerId, u32) {
        if self.open.len() == IN_FLIGHT {
            let oldest = self.open.pop_front().expect("it is full");
            oldest.complete(Outcome::Success, Usage::default()).expect("the ticket is open");
        }
        let selection = self.router.select(request).expect("all workers are healthy");
        let chosen = (selection.worker(), selection.matched_tokens());
        self.open.push_back(selection);
        chosen
    }

    /// Nanoseconds per request of all texts of a workload.
    pub fn texts(&mut self, workload: &mut Workload) -> f64 {
        per_text(workload, |prompt| {
            self.serve(&Request::bytes(prompt));
        })
    }

    /// Nanoseconds per request of all token prompts of a workload.
    pub fn tokens(&mut self, workload: &mut Workload) -> f64 {
        per_tokens(workload, |prompt| {
            self.serve(&Request::tokens(prompt));
        })
    }
}

/// Nanoseconds of `serve` per text.
pub fn per_text(workload: &mut Workload, mut serve: impl FnMut(&[u8])) -> f64 {
    let start = Instant::now();
    for index in 0..workload.len() {
        serve(workload.text(index));
    }
    start.elapsed().as_nanos() as f64 / workload.len() as f64
}

/// Nanoseconds of `serve` per token prompt.
pub fn per_tokens(workload: &mut Workload, mut serve: impl FnMut(&[u32])) -> f64 {
    let start = Instant::now();
    for index in 0..workload.len() {
        serve(workload.tokens(index));
    }
    start.elapsed().as_nanos() as f64 / workload.len() as f64
}
