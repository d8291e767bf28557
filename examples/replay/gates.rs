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

/// Prints the credibility check and the gates for each trace that has listed figures. True when all
/// are met.
pub(crate) fn run(materials: &[Material], threads: usize) -> Result<bool> {
    let mut met = true;
    for material in materials {
        let trace = &material.trace;
        let rows: Vec<&Row> = ROWS.iter().filter(|row| row.trace == trace.name).collect();
        if rows.is_empty() {
            println!("{}: no listed figures for this trace\n", trace.name);
            continue;
        }
        for row in rows {
            let scenario =
                Scenario { load: row.load, cache_share: CACHE_SHARE, ..Scenario::default() };
            let contestants = [Policy::Smg, Policy::LeastWork, Policy::AsWritten];
            let cells = contestants.map(|policy| Cell { scenario: scenario.clone(), policy });
            let measured = grid::run(material, &cells, SEEDS, threads)?;
            let (text, row_met) = row.judge(&measured);
            println!("{text}");
            met &= row_met;
        }
    }
    Ok(met)
}

impl Row {
    fn judge(&self, measured: &[Measured]) -> (String, bool) {
        let mut text = format!(
            "{}, cache {:.0}%, load {:.2}, {SEEDS} seeds\n",
            self.trace,
            CACHE_SHARE * 100.0,
            self.load
        );
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
