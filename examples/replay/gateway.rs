//! What the simulator asks of a router: one trait for the library, the baselines and the scripts.

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The worker that computes the prompt.
    pub(crate) worker: usize,
    /// The worker that decodes, where that is another.
    pub(crate) decode: Option<usize>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All tokens came.
    Success,
    /// This worker was or went away.
    WorkerError {
        /// Which.
        worker: usize,
    },
}

/// What an engine reports about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) running: u32,
    pub(crate) waiting: u32,
    pub(crate) kv_used_tokens: u64,
    pub(crate) kv_total_tokens: u64,
}

/// One gateway's router. Requests and workers are named by their index; times are seconds.
pub(crate) trait Gateway {
    /// Chooses for `request`, never one of `excluded`; none when no worker is left.
    fn route(&mut self, now: f64, request: usize, excluded: &[usize]) -> Option<Route>;

    /// The first token came; the engine had `cached` prompt tokens.
    fn first_token(&mut self, now: f64, request: usize, cached: u32) {
        let _ = (now, request, cached);
    }

    /// The request is over.
    fn ended(&mut self, now: f64, request: usize, ending: Ending, cached: u32) {
        let _ = (now, request, ending, cached);
    }

    /// The health probe saw the worker go or come.
    fn probed(&mut self, now: f64, worker: usize, up: bool) {
        let _ = (now, worker, up);
    }

    /// The worker reported its load.
    fn reported(&mut self, now: f64, worker: usize, report: &Report) {
        let _ = (now, worker, report);
    }
}
