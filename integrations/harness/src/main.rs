//! Runs the gateway integrations end to end: the real gateway binaries on loopback, simulated engines,
//! the same cases for all, and their own balancing next to pointsman's under the same load.
//!
//! `integrations/run all` starts it; `integrations/README.md` says how to add a gateway or a case.

mod bench;
mod cases;
mod compare;
// The simulated engine and the chat load of the example gateway: one simulation for both.
#[allow(dead_code)]
#[path = "../../../examples/gateway/engine/mod.rs"]
mod engine;
mod gateway;
#[allow(dead_code)]
#[path = "../../../examples/gateway/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../../../examples/gateway/load/mod.rs"]
mod load;
mod ports;
mod process;
mod table;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::cases::Case;
use crate::gateway::Gateway;
use crate::http::AnyError;

/// Runs gateways with pointsman inside against simulated engines.
#[derive(Parser)]
struct Cli {
    /// Gateways to run
    #[arg(required = true, value_parser = gateway::find)]
    gateways: Vec<&'static dyn Gateway>,
    /// Only the cases whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Seconds of load for each row of the comparison; 0 leaves it out, as --only does [default: 15]
    #[arg(long, value_name = "S", overrides_with = "compare")]
    compare: Option<f64>,
    /// Keep the directory with configurations and logs
    #[arg(long)]
    keep: bool,
}

/// How one case ended on one gateway.
pub(crate) struct CaseOutcome {
    pub(crate) gateway: &'static str,
    pub(crate) case: &'static str,
    pub(crate) result: Result<String, String>,
    pub(crate) seconds: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Dropping what runs on an interrupt is what stops the gateways: they live in process groups of their own.
    let finished = tokio::select! {
        finished = run(&cli) => finished,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    match finished {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Everything that the command line asks for; returns how many cases failed.
async fn run(cli: &Cli) -> Result<usize, AnyError> {
    let mut outcomes = Vec::new();
    for &gateway in &cli.gateways {
        eprintln!("== {}: building for {}", gateway.name(), version(gateway));
        gateway.build(&bench::root()?)?;
        let common = cases::ALL.iter().map(|case| (gateway, case));
        let cases = common.chain(gateway.cases());
        for (set_up, case) in cases.filter(|(_, case)| chosen(case, cli.only.as_deref())) {
            let outcome = run_case(set_up, case, cli.keep).await;
            table::progress(&outcome);
            outcomes.push(outcome);
        }
    }
    let mut tables = Vec::new();
    let seconds = cli.compare.unwrap_or(if cli.only.is_none() { 15.0 } else { 0.0 });
    for &gateway in cli.gateways.iter().filter(|_| seconds > 0.0) {
        eprintln!("== {}: comparison", gateway.name());
        tables.push(compare::run(gateway, seconds, cli.keep).await?);
    }
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    for &gateway in &cli.gateways {
        println!("{}: {}", gateway.name(), version(gateway));
    }
    println!("{}", table::outcomes(&outcomes));
    for text in tables {
        println!("{text}");
    }
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    Ok(failed)
}

/// The first line that the gateway prints about its version.
fn version(gateway: &dyn Gateway) -> String {
    let Some(mut command) = gateway.version() else { return "this version".to_owned() };
    let output = command.output().ok();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("an unknown version").to_owned()
}

fn chosen(case: &Case, only: Option<&str>) -> bool {
    only.is_none_or(|text| case.name.contains(text))
}

async fn run_case(gateway: &'static dyn Gateway, case: &Case, keep: bool) -> CaseOutcome {
    let started = Instant::now();
    let result = cases::run(gateway, case, keep).await.map_err(|error| error.to_string());
    let seconds = started.elapsed().as_secs_f64();
    CaseOutcome { gateway: gateway.name(), case: case.name, result, seconds }
}
