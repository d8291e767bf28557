//! What every gateway must show. A case is a function over a [`Bench`] with a gateway that balances by
//! pointsman; it returns figures for the table, or what went wrong. One more line in [`ALL`] is one more
//! case for all gateways.

macro_rules! case {
    ($name:literal, $workers:literal, $engine:expr, $run:path) => {
        Case { name: $name, workers: $workers, engine: $engine, run: |bench| Box::pin($run(bench)) }
    };
}

mod answers;
mod bodies;
mod conversations;
pub(crate) mod envoy;
mod faults;
pub(crate) mod haproxy;
mod mistakes;
pub(crate) mod nginx;
mod streams;
mod volume;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::bench::Bench;
use crate::engine::EngineConfig;
use crate::gateway::{Balance, Gateway};
use crate::http::AnyError;

/// Figures, or what went wrong.
type Verdict = Result<String, AnyError>;
type Run = for<'a> fn(&'a mut Bench) -> Pin<Box<dyn Future<Output = Verdict> + 'a>>;

/// One case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    workers: usize,
    engine: fn() -> EngineConfig,
    run: Run,
}

pub(crate) static ALL: &[Case] = &[
    case!("a conversation stays with its prefix", 4, EngineConfig::default, conversations::stay),
    case!("new conversations spread", 8, EngineConfig::default, conversations::spread),
    case!("streaming passes unbuffered", 2, slow, streams::unbuffered),
    case!("clients disconnect", 4, slow, streams::disconnect),
    case!("a worker dies in the middle of an answer", 2, slow, streams::broken),
    case!("bodies of 1 MB", 2, vast, bodies::large),
    case!("chunked bodies", 4, EngineConfig::default, bodies::chunked),
    case!("requests without a body", 4, EngineConfig::default, bodies::none),
    case!("bodies that are no JSON", 4, EngineConfig::default, bodies::unread),
    case!("usage of every API", 2, quick, answers::usage),
    case!("the status page is OpenMetrics", 2, quick, answers::status),
    case!("a worker killed and brought back", 4, EngineConfig::default, faults::killed),
    case!("a worker taken out and put back", 3, EngineConfig::default, faults::taken_out),
    case!("reload under load", 4, EngineConfig::default, faults::reload),
    case!("10,000 requests, none failed", 8, quick, volume::ten_thousand),
    case!("mistakes in the configuration are named", 2, quick, mistakes::named),
];

/// Runs one case on a gateway of its own. Whatever the case did: afterwards nothing is in flight.
pub(crate) async fn run(gateway: &'static dyn Gateway, case: &Case, keep: bool) -> Verdict {
    let balance = Balance::Pointsman("cache_aware");
    let mut bench = Bench::start(gateway, balance, &(case.engine)(), case.workers, keep).await?;
    let verdict = match (case.run)(&mut bench).await {
        Ok(figures) => bench.until_in_flight(0).await.map(|()| figures),
        failed => failed,
    };
    let verdict = verdict.map_err(|error| format!("{error}\n{}", bench.printed()).into());
    bench.stop().await;
    verdict
}

/// An engine that takes a while for each token, so that something can be seen half done.
fn slow() -> EngineConfig {
    EngineConfig { step: Duration::from_millis(40), ..EngineConfig::default() }
}

/// An engine that holds prompts of megabytes.
fn vast() -> EngineConfig {
    EngineConfig { kv_capacity_tokens: 4_000_000, prefill_rate: 5e6, ..EngineConfig::default() }
}

/// An engine that answers at once.
fn quick() -> EngineConfig {
    EngineConfig {
        prefill_rate: 1e7,
        overhead: Duration::ZERO,
        step: Duration::from_millis(1),
        step_per_sequence: Duration::ZERO,
        ..EngineConfig::default()
    }
}

/// Refuses a case whose condition does not hold.
fn demand(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), AnyError> {
    if condition { Ok(()) } else { Err(otherwise().into()) }
}
