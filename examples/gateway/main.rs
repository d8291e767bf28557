//! A streaming gateway for LLM engines, simulated engines that it routes to, and a chat load.
//!
//! `cargo run --release --example gateway` shows what the policies do; `-- --help` says what else there is.

mod cli;
mod demo;
mod engine;
mod http;
mod load;
mod proxy;
mod table;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use pointsman::Role;

use cli::{Cli, Command, EngineArgs, GatewayArgs, LoadArgs};
use demo::Demo;
use engine::{Engine, EngineConfig};
use http::AnyError;
use load::{LoadConfig, Tally};
use proxy::Gateway;

/// Length of a run with `--quick`.
const QUICK: Duration = Duration::from_millis(1_500);

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Engine(args)) => serve_engine(args).await,
        Some(Command::Load(args)) => put_load(args).await,
        Some(Command::Demo(args)) => {
            let (engine, load) = (args.engine.config(), args.load.config());
            demo::run(Demo { workers: args.workers.into(), engine, load }).await
        }
        None if cli.gateway.is_gateway() => serve_gateway(cli.gateway).await,
        None => {
            let (engine, mut load) = (EngineConfig::default(), LoadConfig::default());
            if cli.quick {
                load.length = QUICK;
            }
            demo::run(Demo { workers: 8, engine, load }).await
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn serve_gateway(args: GatewayArgs) -> Result<(), AnyError> {
    let gateway = Gateway::start(args.config()?, args.listen).await?;
    let roles = [
        (Role::Regular, &args.workers),
        (Role::Prefill, &args.prefill),
        (Role::Decode, &args.decode),
    ];
    for (role, urls) in roles {
        for url in urls {
            gateway.add_worker(url, role).await?;
        }
    }
    let (policy, workers) = (gateway.router().policy(), gateway.router().workers().len());
    println!("gateway on {}: {policy} over {workers} workers", gateway.url());
    interrupted().await?;
    eprintln!("shutting down; requests in flight have up to {} s", args.grace);
    gateway.shutdown(Duration::from_secs(args.grace)).await;
    Ok(())
}

async fn serve_engine(args: EngineArgs) -> Result<(), AnyError> {
    let engine = Engine::start(args.speed.config(), args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    println!("engine on {}", engine.url());
    interrupted().await?;
    println!("{:?}", engine.stats());
    engine.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn put_load(args: LoadArgs) -> Result<(), AnyError> {
    let report = load::run(args.load.config(), &args.target, Arc::<Tally>::default()).await;
    println!("{}", table::render(&[(&args.target, report)]));
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
