//! Replays a trace of requests against a simulated cluster and shows which policy serves it best.
//!
//! `cargo run --release --example replay -- --help`

mod baseline;
mod gates;
mod gateway;
mod grid;
mod policies;
mod scenario;
mod sim;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use policies::Policy;

/// Replay a trace against a simulated cluster of inference engines.
#[derive(Parser)]
struct Arguments {
    /// Traces to replay; a built-in synthetic workload when none is given.
    traces: Vec<PathBuf>,
    /// Check the simulator against published figures, then the library against its targets.
    #[arg(long)]
    gates: bool,
    /// Threads; all cores when 0.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let threads = match arguments.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let traces =
        arguments.traces.iter().map(|path| trace::load(path)).collect::<Result<Vec<_>>>()?;
    if arguments.gates {
        return gates::run(&traces, Policy::Greedy, threads);
    }
    Ok(true)
}
