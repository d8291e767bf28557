//! Sends one fixed sequence of requests through two routers, `sglang-router` and the example gateway, and
//! compares which worker each request goes to. `docs/conformance.md` says what the figures mean.

mod drive;
#[allow(dead_code)]
#[path = "../../../../examples/gateway/http.rs"]
mod http;
#[path = "../ports.rs"]
mod ports;
#[allow(dead_code)]
#[path = "../process.rs"]
mod process;
mod routers;
mod rule;
mod sequence;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::http::AnyError;
use crate::routers::{Policy, Router};
use crate::rule::Threshold;
use crate::sequence::{Sequence, Shape, Step};

/// Compares the example gateway's choices with those of sglang-router.
#[derive(Parser)]
struct Cli {
    /// A Python in which sglang-router is installed
    #[arg(long, value_name = "FILE")]
    python: PathBuf,
    /// The example gateway
    #[arg(long, value_name = "FILE")]
    gateway: PathBuf,
}

/// One row of the table.
struct Scenario {
    name: &'static str,
    policy: Policy,
    shape: Shape,
    /// Whether the two must agree on every request.
    equal: bool,
}

const WORKERS: usize = 4;

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn scenarios() -> Vec<Scenario> {
    let long = Shape { requests: 400, chunk: 128, chunks: 4, hold: 0.8, end: 0.2, seed: 1 };
    let threshold = |cache, abs, rel| Threshold { cache, abs, rel };
    let cache_aware = |name, flags, shape, equal| Scenario {
        name,
        policy: Policy::CacheAware(flags),
        shape,
        equal,
    };
    vec![
        Scenario {
            name: "round robin",
            policy: Policy::RoundRobin,
            // Without the cache-aware policy, sglang-router does not count what is in flight.
            shape: Shape { hold: 0.0, ..long.clone() },
            equal: true,
        },
        cache_aware(
            "cache-aware, default flags",
            Threshold::default(),
            Shape { hold: 0.9, end: 0.1, seed: 2, ..long.clone() },
            true,
        ),
        cache_aware(
            "cache-aware, .5 / 4 / 1.5",
            threshold(0.5, 4, 1.5),
            Shape { seed: 3, ..long.clone() },
            true,
        ),
        cache_aware(
            "cache-aware, .8 / 1 / 1.1",
            threshold(0.8, 1, 1.1),
            Shape { seed: 4, ..long.clone() },
            true,
        ),
        cache_aware(
            "cache-aware, prompts shorter than a block",
            Threshold::default(),
            Shape { requests: 60, chunk: 8, chunks: 3, seed: 5, ..long },
            false,
        ),
    ]
}

/// Runs all scenarios; whether everything that must be equal is.
async fn run(cli: &Cli) -> Result<bool, AnyError> {
    println!(
        "| scenario | requests | by match | least loaded | out of balance | sglang-router as the rule \
         | pointsman as the rule | same worker | first difference |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut conforms = true;
    for scenario in scenarios() {
        let sequence = sequence::make(&scenario.policy, &scenario.shape, WORKERS);
        let theirs = Router::sglang(&cli.python, &scenario.policy);
        let ours = Router::pointsman(&cli.gateway, &scenario.policy);
        let theirs = drive::choices(theirs, &sequence, WORKERS).await?;
        let ours = drive::choices(ours, &sequence, WORKERS).await?;
        let compared = compare(&sequence, &theirs, &ours);
        conforms &= !scenario.equal || compared.same == compared.requests;
        compared.print(scenario.name, &sequence);
    }
    Ok(conforms)
}

/// How far two runs agree, with each other and with the rule as `rule.rs` has it.
struct Compared {
    requests: usize,
    same: usize,
    theirs_by_rule: usize,
    ours_by_rule: usize,
    first: Option<String>,
}

fn compare(sequence: &Sequence, theirs: &[usize], ours: &[usize]) -> Compared {
    let mut asked = Vec::new();
    for step in &sequence.steps {
        if let Step::Ask { prompt, worker, because, .. } = step {
            asked.push((prompt, *worker, because));
        }
    }
    let ruled: Vec<_> = asked.iter().map(|&(_, worker, _)| worker).collect();
    let agreed = agreeing(theirs, ours);
    let count = |agreed: &[bool]| agreed.iter().filter(|&&same| same).count();
    let first = agreed.iter().position(|&same| !same);
    Compared {
        requests: asked.len(),
        same: count(&agreed),
        theirs_by_rule: count(&agreeing(&ruled, theirs)),
        ours_by_rule: count(&agreeing(&ruled, ours)),
        first: first.map(|number| {
            let (prompt, _, because) = asked[number];
            format!("request {number}, {} bytes, {because}", prompt.len())
        }),
    }
}

/// Where two runs choose the same worker, up to the names: the worker that serves the first request of
/// one run stands for the worker that serves it in the other, and so on.
fn agreeing(one: &[usize], other: &[usize]) -> Vec<bool> {
    let (mut there, mut here) = (HashMap::new(), HashMap::new());
    let pairs = one.iter().zip(other);
    pairs
        .map(|(&a, &b)| *there.entry(a).or_insert(b) == b && *here.entry(b).or_insert(a) == a)
        .collect()
}

impl Compared {
    fn print(&self, name: &str, sequence: &Sequence) {
        let of = |because| sequence.count(because);
        let first = self.first.as_deref().unwrap_or("none");
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {first} |",
            self.requests,
            of(rule::Because::Match),
            of(rule::Because::LeastLoaded),
            of(rule::Because::Imbalanced),
            self.theirs_by_rule,
            self.ours_by_rule,
            self.same,
        );
    }
}
