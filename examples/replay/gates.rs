//! The gates: is the simulator credible, and does the library reach what the rule promises?

use std::fmt::Write as _;

use anyhow::Result;

use crate::grid::{self, Cell, Measured};
use crate::policies::Policy;
use crate::scenario::{Material, Scenario};

/// Seeds per figure.
const SEEDS: u64 = 4;

/// What the rule's description lists for one trace and load.
struct Row {
    trace: &'static str,
    load: f64,
    oracle: f64,
    smg: Listed,
    least_work: Listed,
    /// Greatest allowed mean of the library over SMG's.
    ratio: f64,
}

struct Listed {
    mean: f64,
    p99: f64,
    hit: f64,
}

const CACHE_SHARE: f64 = 0.10;
/// Loads at which a trace without listed figures is measured.
const UNLISTED_LOADS: [f64; 2] = [0.70, 0.85];

const ROWS: [Row; 3] = [
    Row {
        trace: "mooncake_conversation",
        load: 0.70,
        oracle: 0.277,
        smg: Listed { mean: 3.07, p99: 15.5, hit: 0.263 },
        least_work: Listed { mean: 1.21, p99: 8.05, hit: 0.253 },
        ratio: 0.41,
    },
    Row {
        trace: "mooncake_conversation",
        load: 0.85,
        oracle: 0.277,
        smg: Listed { mean: 4.96, p99: 19.9, hit: 0.263 },
        least_work: Listed { mean: 1.79, p99: 8.83, hit: 0.258 },
        ratio: 0.38,
    },
    Row {
        trace: "toolagent_like",
        load: 0.85,
        oracle: 0.474,
        smg: Listed { mean: 3.58, p99: 17.8, hit: 0.458 },
        least_work: Listed { mean: 1.24, p99: 7.05, hit: 0.463 },
        ratio: 0.36,
    },
];

/// Prints the credibility check and the gates for each trace that has listed figures, and the plain
/// comparison for any other. True when all are met.
pub(crate) fn run(materials: &[Material], threads: usize) -> Result<bool> {
    let mut met = true;
    for material in materials {
        let trace = &material.trace;
        let listed: Vec<&Row> = ROWS.iter().filter(|row| row.trace == trace.name).collect();
        for row in &listed {
            let (text, row_met) = row.judge(&measure(material, row.load, threads)?);
            println!("{text}");
            met &= row_met;
        }
        for load in UNLISTED_LOADS.into_iter().filter(|_| listed.is_empty()) {
            println!("{}", unlisted(&trace.name, load, &measure(material, load, threads)?));
        }
    }
    Ok(met)
}

fn measure(material: &Material, load: f64, threads: usize) -> Result<Vec<Measured>> {
    let scenario = Scenario { load, cache_share: CACHE_SHARE, ..Scenario::default() };
    let contestants = [Policy::Smg, Policy::LeastWork, Policy::AsWritten];
    let cells = contestants.map(|policy| Cell { scenario: scenario.clone(), policy });
    grid::run(material, &cells, SEEDS, threads)
}

/// The same measures for a trace without listed figures.
fn unlisted(trace: &str, load: f64, measured: &[Measured]) -> String {
    let mut text = title(trace, load);
    let _ = writeln!(text, "  oracle hit share {:.1}%", measured[0].oracle * 100.0);
    for run in measured {
        let summary = &run.summary;
        let _ = writeln!(
            text,
            "  {:<12} mean {:>7.2} s, {:.3} of SMG's   p99 {:>7.2} s   hit share {:>4.1}%",
            run.cell.policy.name(),
            summary.mean,
            summary.mean / measured[0].summary.mean,
            summary.p99,
            summary.hit_share * 100.0
        );
    }
    text
}

fn title(trace: &str, load: f64) -> String {
    format!("{trace}, cache {:.0}%, load {load:.2}, {SEEDS} seeds\n", CACHE_SHARE * 100.0)
}

impl Row {
    fn judge(&self, measured: &[Measured]) -> (String, bool) {
        let mut text = title(self.trace, self.load);
        let oracle = measured[0].oracle;
        let mut met = line(&mut text, "oracle hit share", oracle, self.oracle, "%", near(0.05));
        let smg = &measured[0].summary;
        met &= line(&mut text, "SMG mean", smg.mean, self.smg.mean, "s", near(0.05));
        met &= line(&mut text, "SMG p99", smg.p99, self.smg.p99, "s", near(0.10));
        met &= line(&mut text, "SMG hit share", smg.hit_share, self.smg.hit, "%", near(0.05));
        for run in &measured[1..] {
            let name = run.cell.policy.name();
            let (summary, listed) = (&run.summary, &self.least_work);
            let ratio = summary.mean / smg.mean;
            let at_most = |value: f64, limit: f64| value <= limit;
            let hit = summary.hit_share;
            let point = |value: f64, listed: f64| value >= listed - 0.01;
            met &= line(&mut text, &format!("{name}: mean / SMG"), ratio, self.ratio, "", at_most);
            met &= line(&mut text, &format!("{name}: hit share"), hit, listed.hit, "%", point);
            let _ = writeln!(
                text,
                "  {:<38} {:>8.2} s  listed {:>6.2} s   p99 {:.2} s, listed {:.2} s",
                format!("{name}: mean"),
                summary.mean,
                listed.mean,
                summary.p99,
                listed.p99
            );
        }
        (text, met)
    }
}

/// Within a share of the listed value.
fn near(share: f64) -> impl Fn(f64, f64) -> bool {
    move |value, listed| (value / listed - 1.0).abs() <= share
}

fn line(
    text: &mut String,
    what: &str,
    value: f64,
    listed: f64,
    unit: &str,
    holds: impl Fn(f64, f64) -> bool,
) -> bool {
    let met = holds(value, listed);
    let (scale, digits) = if unit == "%" { (100.0, 1) } else { (1.0, 3) };
    let _ = writeln!(
        text,
        "  {what:<38} {:>8.digits$} {unit:<1} listed {:>6.digits$} {unit:<1} {:>+6.1}%  {}",
        value * scale,
        listed * scale,
        (value / listed - 1.0) * 100.0,
        if met { "meets" } else { "falls short" }
    );
    met
}
