//! What is read once a window, and how threads bring it together.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::counting;

/// One window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) at: f64,
    /// Requests since the start.
    pub(crate) requests: u64,
    /// How often the tree's budget was written anew.
    pub(crate) turnovers: f64,
    /// Percentiles of the window's latencies in nanoseconds: 50, 99, 99.9.
    pub(crate) latency: [u64; 3],
    /// Processor time per request, everything included, in nanoseconds.
    pub(crate) cpu: f64,
    /// Bytes of the process in memory; 0 where the system does not say.
    pub(crate) resident: u64,
    /// Bytes that all threads hold of the allocator.
    pub(crate) heap: i64,
    /// Bytes that the tree holds.
    pub(crate) tree: u64,
    /// Share of the prompts' tokens that were matched.
    pub(crate) matched: f64,
    /// Requests that were open when the sample was taken.
    pub(crate) open: usize,
    /// Requests refused since the start.
    pub(crate) refused: u64,
}

impl Sample {
    pub(crate) const HEADER: &'static str = "seconds,requests,turnovers,p50_ns,p99_ns,p99.9_ns,\
        cpu_ns,resident_bytes,heap_bytes,tree_bytes,matched,open,refused\n";

    pub(crate) fn row(&self) -> String {
        let [p50, p99, p999] = self.latency;
        format!(
            "{:.1},{},{:.2},{p50},{p99},{p999},{:.0},{},{},{},{:.4},{},{}\n",
            self.at,
            self.requests,
            self.turnovers,
            self.cpu,
            self.resident,
            self.heap,
            self.tree,
            self.matched,
            self.open,
            self.refused
        )
    }
}

/// What threads have done in the current window.
#[derive(Clone)]
pub(crate) struct Tally {
    pub(crate) latency: Histogram<u64>,
    pub(crate) cpu: u64,
    pub(crate) matched: u64,
    pub(crate) tokens: u64,
    pub(crate) refused: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        // Up to ten seconds: a thread may lose its processor for long.
        let latency = Histogram::new_with_bounds(1, 10_000_000_000, 2).expect("valid bounds");
        Tally { latency, cpu: 0, matched: 0, tokens: 0, refused: 0 }
    }

    fn clear(&mut self) {
        self.latency.reset();
        (self.cpu, self.matched, self.tokens, self.refused) = (0, 0, 0, 0);
    }
}

/// Where threads leave their tallies and the sampler takes them.
pub(crate) struct Window(Mutex<Tally>);

impl Window {
    pub(crate) fn new() -> Self {
        Window(Mutex::new(Tally::new()))
    }

    /// Adds a thread's tally and clears it.
    pub(crate) fn add(&self, tally: &mut Tally) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.latency.add(&tally.latency).expect("the same bounds");
        all.cpu += tally.cpu;
        all.matched += tally.matched;
        all.tokens += tally.tokens;
        all.refused += tally.refused;
        tally.clear();
    }

    /// Ends the window. Turnovers, the tree's bytes and open requests are for the caller to fill in.
    pub(crate) fn end(&self, start: Instant, before: Option<&Sample>) -> Sample {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = all.latency.len();
        let sample = Sample {
            at: start.elapsed().as_secs_f64(),
            requests: before.map_or(0, |before| before.requests) + requests,
            latency: [50.0, 99.0, 99.9].map(|p| all.latency.value_at_percentile(p)),
            cpu: all.cpu as f64 / requests.max(1) as f64,
            resident: resident_bytes(),
            heap: counting::live_bytes(),
            matched: all.matched as f64 / all.tokens.max(1) as f64,
            refused: before.map_or(0, |before| before.refused) + all.refused,
            ..Sample::default()
        };
        all.clear();
        sample
    }
}

/// Nanoseconds that the calling thread has been on a processor; 0 where the system does not say.
pub(crate) fn cpu_time() -> u64 {
    let read = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    read().unwrap_or(0)
}

fn resident_bytes() -> u64 {
    let read = || {
        let text = std::fs::read_to_string("/proc/self/statm").ok()?;
        text.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    read().unwrap_or(0) * 4096
}
