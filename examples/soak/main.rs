//! Hours of traffic at full speed, and whether anything drifts meanwhile.
//!
//! `mixed` drives a router through its public interface: text, tokens, JSON bodies, fingerprints and
//! pairs; completions, failures and drops; workers that come and go; policies that are switched. `tree`
//! drives the prefix tree alone. Both sample latency, processor time, memory and counters once a window,
//! write them as CSV and SVG, and compare the last quarter of the run with the second one: the program
//! fails where something has grown, or where the tree's budget was not turned over often enough.

#![allow(clippy::expect_used, reason = "what cannot fail")]

#[path = "../../tests/support/counting.rs"]
mod counting;
mod drift;
mod mixed;
mod plot;
mod prompts;
mod sample;
mod tree;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};

use sample::Sample;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting { live: true, refuses: false };

#[derive(Clone, Copy, ValueEnum)]
enum Subject {
    /// A router under mixed traffic.
    Mixed,
    /// The prefix tree alone.
    Tree,
}

#[derive(Parser)]
struct Arguments {
    subject: Subject,
    /// How long, in seconds.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Samples in all.
    #[arg(long, default_value_t = 240)]
    windows: u32,
    /// The tree's budget.
    #[arg(long, default_value_t = 8)]
    budget_mib: usize,
    /// How often the budget must be turned over, or the run counts as failed.
    #[arg(long, default_value_t = 1000)]
    turnovers: u64,
    /// Where the results go: this path with .csv and .svg.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// What both subjects are told.
struct Plan {
    window: Duration,
    windows: u32,
    budget: usize,
    threads: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let plan = Plan {
        window: Duration::from_secs(arguments.seconds) / arguments.windows,
        windows: arguments.windows,
        budget: arguments.budget_mib << 20,
        threads: std::thread::available_parallelism().map_or(2, usize::from),
    };
    ensure!(plan.windows >= 8, "drift is seen between quarters: 8 windows at least");
    let (title, samples) = match arguments.subject {
        Subject::Mixed => ("router, mixed traffic", mixed::run(&plan)?),
        Subject::Tree => ("prefix tree", tree::run(&plan)?),
    };
    if let Some(path) = &arguments.output {
        write(path, title, &plan, &samples)?;
    }
    let last = samples.last().context("no samples")?;
    println!(
        "{title}: {} requests by {} threads in {:.0} s; a budget of {} MiB turned over {:.0} times",
        last.requests, plan.threads, last.at, arguments.budget_mib, last.turnovers
    );
    let steady = drift::report(&samples);
    ensure!(
        last.turnovers >= arguments.turnovers as f64,
        "the budget was to be turned over {} times",
        arguments.turnovers
    );
    ensure!(steady, "something drifts");
    println!("nothing drifts");
    Ok(())
}

fn write(path: &std::path::Path, title: &str, plan: &Plan, samples: &[Sample]) -> Result<()> {
    let mut csv = Sample::HEADER.to_owned();
    samples.iter().for_each(|sample| csv += &sample.row());
    std::fs::write(path.with_extension("csv"), csv)?;
    std::fs::write(path.with_extension("svg"), plot::draw(title, plan, samples)?)?;
    Ok(())
}
