//! Many experiments on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};

use crate::policies::Policy;
use crate::scenario::{Material, Scenario};
use crate::sim::oracle::{self, Oracle};
use crate::sim::outcome::{Run, Summary, mean};
use crate::trace::Trace;

/// Points of a distribution that a report keeps.
const CURVE_POINTS: usize = 200;

/// One policy in one scenario.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) scenario: Scenario,
    pub(crate) policy: Policy,
}

/// A cell's measures, the mean of its seeds.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) cell: Cell,
    pub(crate) summary: Summary,
    /// Least and greatest mean time to first token among the seeds.
    pub(crate) spread: (f64, f64),
    /// Hit share of one shared cache of the cluster's size.
    pub(crate) oracle: f64,
    /// Hit share of one shared infinite cache.
    pub(crate) infinite: f64,
    /// Times to first token at evenly spaced ranks, first seed.
    pub(crate) curve: Vec<f64>,
    /// Requests before their first token, per worker and time, first seed.
    pub(crate) timeline: Vec<Vec<(f64, f64)>>,
}

/// Runs every cell with `seeds` seeds on `threads` threads. The order of the result is that of
/// `cells`, whichever ends first.
pub(crate) fn run(
    material: &Material,
    cells: &[Cell],
    seeds: u64,
    threads: usize,
) -> Result<Vec<Measured>> {
    let trace = &material.trace;
    let infinite = oracle::shared(trace, usize::MAX).hit_share;
    let oracles = oracles(trace, cells);
    let progress = progress(cells.len() as u64 * seeds)?;
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<Measured>>>> =
        Mutex::new((0..cells.len()).map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(cell) = cells.get(index) else { break };
                    let oracle = &oracles[index];
                    let result = measure(material, cell, oracle, infinite, seeds, &progress);
                    if let Ok(mut results) = results.lock() {
                        results[index] = Some(result);
                    }
                }
            });
        }
    });
    progress.finish_and_clear();
    let results = results.into_inner().map_err(|_| anyhow!("a simulation thread died"))?;
    results.into_iter().map(|result| result.context("a simulation did not end")?).collect()
}

/// One oracle per cell, computed once per cache size.
fn oracles(trace: &Trace, cells: &[Cell]) -> Vec<Oracle> {
    let mut known: Vec<(usize, Oracle)> = Vec::new();
    let mut of = |cell: &Cell| {
        let blocks = cell.scenario.total_blocks(trace);
        if let Some(&(_, oracle)) = known.iter().find(|(size, _)| *size == blocks) {
            return oracle;
        }
        let oracle = cell.scenario.oracle(trace);
        known.push((blocks, oracle));
        oracle
    };
    cells.iter().map(&mut of).collect()
}

fn progress(total: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {eta} left")?;
    Ok(ProgressBar::new(total).with_style(style))
}

fn measure(
    material: &Material,
    cell: &Cell,
    oracle: &Oracle,
    infinite: f64,
    seeds: u64,
    progress: &ProgressBar,
) -> Result<Measured> {
    let mut summaries = Vec::new();
    let (mut curve, mut timeline) = (Vec::new(), Vec::new());
    for seed in 0..seeds.max(1) {
        let finished = cell.scenario.run(material, oracle, cell.policy, seed)?;
        summaries.push(finished.summary);
        if seed == 0 {
            curve = distribution(&finished.run);
            timeline = finished.run.timeline;
        }
        progress.inc(1);
    }
    let means = || summaries.iter().map(|summary| summary.mean);
    Ok(Measured {
        cell: cell.clone(),
        spread: (means().fold(f64::INFINITY, f64::min), means().fold(0.0, f64::max)),
        summary: average(&summaries),
        oracle: oracle.hit_share,
        infinite,
        curve,
        timeline,
    })
}

fn distribution(run: &Run) -> Vec<f64> {
    let mut times: Vec<f64> = run.served.iter().map(|served| served.first_token).collect();
    times.retain(|time| time.is_finite());
    times.sort_by(f64::total_cmp);
    let last = times.len().saturating_sub(1);
    let at = |point: usize| times.get(point * last / (CURVE_POINTS - 1)).copied();
    (0..CURVE_POINTS).filter_map(at).collect()
}

fn average(summaries: &[Summary]) -> Summary {
    let of = |field: fn(&Summary) -> f64| mean(&summaries.iter().map(field).collect::<Vec<_>>());
    Summary {
        hit_share: of(|summary| summary.hit_share),
        mean: of(|summary| summary.mean),
        p50: of(|summary| summary.p50),
        p90: of(|summary| summary.p90),
        p99: of(|summary| summary.p99),
        end_to_end_p50: of(|summary| summary.end_to_end_p50),
        imbalance: of(|summary| summary.imbalance),
        failed: summaries.iter().map(|summary| summary.failed).sum(),
    }
}
