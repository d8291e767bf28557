//! A streaming gateway for LLM engines, simulated engines to put behind it, and a chat load to put on it.
//!
//! `cargo run --release --example gateway` shows what the policies do; `-- --help` says what else there is.

mod cli;
mod engine;
mod http;
mod load;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

use cli::{Cli, Command, EngineArgs, LoadArgs};
use engine::Engine;
use http::AnyError;
use load::{Report, Tally};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Engine(args)) => engine(args).await,
        Some(Command::Load(args)) => put_load(args).await,
        Some(Command::Demo(_)) | None => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn engine(args: EngineArgs) -> Result<(), AnyError> {
    let engine = Engine::start(args.speed.config(), args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    println!("engine on {}", engine.url());
    interrupted().await?;
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn put_load(args: LoadArgs) -> Result<(), AnyError> {
    let report: Report = load::run(args.load.config(), &args.target, Arc::<Tally>::default()).await;
    println!("{report:#?}");
    Ok(())
}

/// Waits for SIGINT or SIGTERM.
async fn interrupted() -> Result<(), AnyError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
