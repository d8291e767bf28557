//! When requests come: the trace's own times scaled to a load, or a Poisson process.

use super::fleet::Fleet;
use super::oracle::Oracle;
use super::rng::Rng;
use crate::trace::Trace;

/// How arrival times are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Process {
    /// The trace's times, stretched or shrunk.
    Trace,
    /// Independent exponential gaps.
    Poisson,
}

impl Process {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Process::Trace => "trace",
            Process::Poisson => "poisson",
        }
    }
}

/// Seconds over which the trace must be spread so that the prefill work which the shared cache of
/// `oracle` leaves, overhead included, fills `load` of the cluster's time.
pub(crate) fn span_for(trace: &Trace, fleet: &Fleet, oracle: &Oracle, load: f64) -> f64 {
    let rate = fleet.prefill_rate();
    let overhead: f64 = fleet.workers.first().map_or(0.0, |worker| worker.overhead);
    let mean_rate = rate / prefill_workers(fleet).max(1) as f64;
    let work = oracle.left_tokens as f64 + overhead * mean_rate * trace.requests.len() as f64;
    work / (rate * load)
}

fn prefill_workers(fleet: &Fleet) -> usize {
    use super::fleet::Stage;
    fleet.workers.iter().filter(|w| w.stage != Stage::Decode && w.present).count()
}

/// One arrival time per request, spread over `span` seconds. That of a request which waits for
/// another one is not used: it comes when that one ends.
pub(crate) fn times(trace: &Trace, process: Process, span: f64, seed: u64) -> Vec<f64> {
    match process {
        Process::Trace => {
            let own = trace.requests.iter().map(|request| request.arrival).fold(0.0, f64::max);
            let scale = if own > 0.0 { span / own } else { 0.0 };
            trace.requests.iter().map(|request| request.arrival * scale).collect()
        }
        Process::Poisson => {
            let mut rng = Rng::new(seed ^ 0xa441);
            let mean = span / trace.requests.len().max(1) as f64;
            let mut now = 0.0;
            let mut next = || {
                now += rng.exponential(mean);
                now
            };
            trace.requests.iter().map(|_| next()).collect()
        }
    }
}
