//! Whether the last quarter of a run is as the second one was. The first quarter fills caches and the
//! tree.
//!
//! Times are compared by the lower quartile of the windows: other programs on the machine make some
//! windows slower, and none faster. Memory is compared by its highest window. In a run shorter than ten
//! minutes times are shown and do not decide: one change of the machine's speed may last for half of it.

use crate::sample::Sample;

/// How much the last quarter may be above the second: times by a factor, all else by an amount.
enum Tolerance {
    Times(f64),
    Plus(f64),
}

struct Check {
    name: &'static str,
    tolerance: Tolerance,
    of: fn(&[Sample]) -> f64,
}

/// From how many seconds on times decide.
const LONG: f64 = 600.0;
const MIB: f64 = 1_048_576.0;

const CHECKS: [Check; 7] = [
    Check {
        name: "CPU ns per request",
        tolerance: Tolerance::Times(1.1),
        of: |s| low(s, |s| s.cpu),
    },
    Check {
        name: "latency p50 ns",
        tolerance: Tolerance::Times(1.15),
        of: |s| low(s, |s| s.latency[0] as f64),
    },
    Check {
        name: "latency p99 ns",
        tolerance: Tolerance::Times(1.3),
        of: |s| low(s, |s| s.latency[1] as f64),
    },
    Check {
        name: "resident MiB",
        tolerance: Tolerance::Plus(1.0),
        of: |s| most(s, |s| s.resident as f64 / MIB),
    },
    Check {
        name: "heap MiB",
        tolerance: Tolerance::Plus(0.25),
        of: |s| most(s, |s| s.heap as f64 / MIB),
    },
    Check {
        name: "unmatched share",
        tolerance: Tolerance::Plus(0.05),
        of: |s| mean(s, |s| 1.0 - s.matched),
    },
    // A request may lose every race for the last places of workers with a limit, though others have room.
    Check { name: "refused per million", tolerance: Tolerance::Plus(0.1), of: refused },
];

/// Prints every comparison; whether all are within their tolerance.
pub(crate) fn report(samples: &[Sample]) -> bool {
    let quarter = samples.len() / 4;
    let (second, last) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    println!("{:<22}{:>14}{:>14}{:>14}", "", "2nd quarter", "last quarter", "at most");
    let long = samples.last().is_some_and(|sample| sample.at >= LONG);
    let mut steady = true;
    for check in &CHECKS {
        let (before, after) = ((check.of)(second), (check.of)(last));
        let most = match check.tolerance {
            Tolerance::Times(factor) => before * factor,
            Tolerance::Plus(more) => before + more,
        };
        let decides = long || matches!(check.tolerance, Tolerance::Plus(_));
        let verdict = match (after <= most, decides) {
            (true, _) => "",
            (false, true) => "  DRIFTS",
            (false, false) => "  above, in a short run",
        };
        println!("{:<22}{before:>14.3}{after:>14.3}{most:>14.3}{verdict}", check.name);
        steady &= after <= most || !decides;
    }
    steady
}

/// Refused requests per million of the quarter.
fn refused(samples: &[Sample]) -> f64 {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return 0.0 };
    (last.refused - first.refused) as f64 * 1e6 / (last.requests - first.requests).max(1) as f64
}

/// The lower quartile.
fn low(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 4).copied().unwrap_or(0.0)
}

fn most(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).fold(0.0, f64::max)
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).sum::<f64>() / samples.len().max(1) as f64
}
