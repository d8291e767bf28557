//! Replays a trace of requests against a simulated cluster and shows which policy serves it best.
//!
//! `cargo run --release --example replay -- --help`

mod baseline;
mod experiments;
mod gates;
mod gateway;
mod grid;
mod library;
mod policies;
mod report;
mod scenario;
mod sim;
mod trace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use experiments::{Experiments, Lists, Measurements};
use policies::Policy;
use report::html::Study;
use scenario::{Material, Scenario, Shape};
use sim::arrivals::Process;
use trace::Trace;

/// Replay a trace against a simulated cluster of inference engines.
#[derive(Parser)]
struct Arguments {
    /// Traces to replay: this lab's format, Mooncake's JSONL or JSONL of OpenAI bodies, plain or
    /// gzip; a built-in synthetic workload when none is given.
    traces: Vec<PathBuf>,
    /// Check the simulator against published figures, then the library against its targets.
    #[arg(long)]
    gates: bool,
    /// Policies to compare; all when empty.
    #[arg(long, value_delimiter = ',')]
    policies: Vec<String>,
    /// Shares of the time that the unavoidable prefill work fills.
    #[arg(long, value_delimiter = ',', default_value = "0.5,0.7,0.85")]
    loads: Vec<f64>,
    /// All workers' KV capacity as shares of the trace's distinct prompt blocks.
    #[arg(long, value_delimiter = ',', default_value = "0.05,0.1,0.2")]
    caches: Vec<f64>,
    /// Workers.
    #[arg(long, default_value_t = 8)]
    workers: usize,
    /// Fleets.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "even")]
    shapes: Vec<Shape>,
    /// Gateways that share nothing.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    replicas: Vec<usize>,
    /// Makes every answer so many times as long: above 1, workers are bound by KV space and by decode
    /// sooner than by prefill.
    #[arg(long, default_value_t = 1.0)]
    outputs: f64,
    /// Contestants besides: the least-work rule with other knobs, as NAME={"KNOB": VALUE, ...}.
    #[arg(long = "variant", value_parser = Policy::variant)]
    variants: Vec<Policy>,
    /// How requests come.
    #[arg(long, value_enum, default_value = "trace")]
    arrivals: Process,
    /// Seconds by which gateways hear of first tokens too late.
    #[arg(long, default_value_t = 0.0)]
    signal_delay: f64,
    /// Share of first tokens of which gateways never hear.
    #[arg(long, default_value_t = 0.0)]
    signal_loss: f64,
    /// Seconds between the workers' load reports to the gateways; none when 0.
    #[arg(long, default_value_t = 0.0)]
    report_interval: f64,
    /// Seeds per figure.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Requests of the synthetic workload.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Write a report with pictures to this file. Adds to the grid: 4, 16 and 64 gateways, other
    /// fleets and arrivals, late and missing first tokens.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Write the report's pictures into this directory, one SVG file each; implies what a report
    /// adds to the grid.
    #[arg(long)]
    pictures: Option<PathBuf>,
    /// Write the measures to this file as JSON; "-" for standard output.
    #[arg(long)]
    json: Option<PathBuf>,
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
    let mut traces =
        arguments.traces.iter().map(|path| trace::load(path)).collect::<Result<Vec<_>>>()?;
    if traces.is_empty() {
        traces.push(trace::synthetic::trace(arguments.requests, 1));
    }
    if arguments.outputs != 1.0 {
        let sound = arguments.outputs > 0.0 && arguments.outputs <= 1000.0;
        ensure!(sound, "--outputs must be above 0 and at most 1000");
        traces.iter_mut().for_each(|trace| trace.stretch_outputs(arguments.outputs));
    }
    let materials = traces.into_iter().map(Material::new).collect::<Result<Vec<_>>>()?;
    if arguments.gates {
        return gates::run(&materials, threads);
    }
    let experiments = arguments.experiments()?;
    let reference = &experiments.reference;
    let mut results = Vec::new();
    for material in &materials {
        println!("{}\n", describe(&material.trace));
        let measured = experiments.run(material, arguments.seeds, threads)?;
        measured.parts().for_each(|part| print!("{}", report::table::render(part)));
        results.push((&material.trace, measured));
    }
    if let Some(path) = &arguments.json {
        let measured = |(trace, measured): &(&Trace, Measurements)| {
            let all: Vec<_> = measured.parts().flatten().cloned().collect();
            report::json::render(&trace.name, &all)
        };
        let objects: Vec<_> = results.iter().map(measured).collect();
        write(path, &serde_json::to_string_pretty(&objects)?)?;
    }
    if let Some(path) = &arguments.html {
        let study = |(trace, measured)| Study { trace: describe(trace), measured, reference };
        let studies: Vec<Study<'_>> = results.iter().map(|(t, m)| study((*t, m))).collect();
        write(path, &report::html::render(&studies)?)?;
    }
    if let Some(directory) = &arguments.pictures {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        for (trace, measured) in &results {
            let study = Study { trace: describe(trace), measured, reference };
            for picture in study.pictures()? {
                let name = format!("{}-{}.svg", file_name(&trace.name), picture.name);
                write(&directory.join(name), &picture.svg)?;
            }
        }
    }
    Ok(true)
}

/// A trace's name as part of a file name.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    if path.as_os_str() == "-" {
        println!("{text}");
        return Ok(());
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn describe(trace: &Trace) -> String {
    format!(
        "{}: {} requests, {:.1} M prompt tokens, {} distinct blocks of {} tokens, answers of {:.0} tokens",
        trace.name,
        trace.requests.len(),
        trace.input_tokens() as f64 / 1e6,
        trace.distinct_input,
        trace.block,
        trace.output_tokens() as f64 / trace.requests.len().max(1) as f64,
    )
}

impl Arguments {
    /// What the arguments ask for.
    fn experiments(&self) -> Result<Experiments> {
        ensure!(self.workers > 0, "--workers must be at least 1");
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        ensure!(self.loads.iter().all(positive), "--loads must be above 0");
        ensure!(self.caches.iter().all(positive), "--caches must be above 0");
        ensure!(self.replicas.iter().all(|&replicas| replicas > 0), "--replicas must be above 0");
        let mut policies: Vec<Policy> = match self.policies.is_empty() {
            true => Policy::ALL.to_vec(),
            false => self.policies.iter().map(|name| Policy::parse(name)).collect::<Result<_>>()?,
        };
        policies.extend(&self.variants);
        let base = Scenario {
            workers: self.workers,
            process: self.arrivals,
            signal_delay: self.signal_delay,
            signal_loss: self.signal_loss,
            report_every: self.report_interval,
            ..Scenario::default()
        };
        let lists = Lists {
            loads: &self.loads,
            caches: &self.caches,
            shapes: &self.shapes,
            replicas: &self.replicas,
        };
        Ok(Experiments::new(
            &base,
            &lists,
            policies,
            self.html.is_some() || self.pictures.is_some(),
        ))
    }
}
