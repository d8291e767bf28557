//! What goes on while the load goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Verdict, conversations, demand};
use crate::bench::Bench;
use crate::http::AnyError;
use crate::load::{self, LoadConfig, Report, Tally};

/// How long a worker that is back may wait for its first request.
const RETURN: Duration = Duration::from_secs(30);

fn load() -> LoadConfig {
    LoadConfig {
        users: 24,
        length: Duration::from_secs(6),
        system_bytes: 3_000,
        message_bytes: 600,
        ..LoadConfig::default()
    }
}

/// A worker dies under load and comes back on its port: no request is lost, and it serves again.
pub(super) async fn killed(bench: &mut Bench) -> Verdict {
    let (target, length) = (bench.url(), load().length);
    let accident = async {
        tokio::time::sleep(length / 3).await;
        bench.engines[0].kill().await;
        tokio::time::sleep(length / 4).await;
        bench.engines[0].restart().await
    };
    let tally = Arc::<Tally>::default();
    let (report, restarted) = tokio::join!(load::run(load(), &target, tally), accident);
    restarted?;
    unharmed(&report)?;
    // What is believed of it decides when it gets work again: probation, slow start.
    let back = Instant::now();
    let mut number = 0;
    while bench.engines[0].stats().succeeded == 0 {
        demand(back.elapsed() < RETURN, || {
            "the worker serves nothing since it is back".to_owned()
        })?;
        number += 1;
        conversations::ask_anew(bench, number).await?;
    }
    let (answered, cut) = (report.answered, report.cut);
    Ok(format!("{answered} answered, {cut} broken off by the kill, 0 lost; serves again"))
}

/// The gateway takes up its configuration three times under load: no request is lost, no answer cut.
pub(super) async fn reload(bench: &mut Bench) -> Verdict {
    let (target, length) = (bench.url(), load().length);
    let reloads = async {
        for _ in 0..3 {
            tokio::time::sleep(length / 5).await;
            bench.reload()?;
        }
        Ok::<_, AnyError>(())
    };
    let tally = Arc::<Tally>::default();
    // A client cannot tell that an idle connection is about to be closed, so it keeps none: what is
    // lost here, the gateway lost.
    let load = LoadConfig { keep_connections: false, ..load() };
    let (report, reloaded) = tokio::join!(load::run(load, &target, tally), reloads);
    reloaded?;
    unharmed(&report)?;
    demand(report.cut == 0, || format!("{} answers broke off", report.cut))?;
    Ok(format!("3 reloads, {} answered, 0 lost", report.answered))
}

/// A worker that the operator takes out gets no new request until it is put back.
pub(super) async fn taken_out(bench: &mut Bench) -> Verdict {
    const ASKED: u64 = 30;
    let Some(done) = bench.gateway.take_out(&bench.site, 0, true) else {
        return Ok("not tried".to_owned());
    };
    done?;
    let settled = bench.engines[0].stats().succeeded;
    for number in 0..ASKED {
        conversations::ask_anew(bench, number).await?;
    }
    let served = bench.engines[0].stats().succeeded - settled;
    demand(served == 0, || format!("it got {served} of {ASKED} requests"))?;
    bench.gateway.take_out(&bench.site, 0, false).transpose()?;
    serves_again(bench, settled).await?;
    Ok(format!("0 of {ASKED} requests while it was out; serves again"))
}

/// Asks until the first worker has served more than `before`. What is believed of it decides when that
/// is: probation, slow start.
async fn serves_again(bench: &Bench, before: u64) -> Result<(), AnyError> {
    let back = Instant::now();
    let mut number = 1_000;
    while bench.engines[0].stats().succeeded == before {
        demand(back.elapsed() < RETURN, || {
            "the worker serves nothing since it is back".to_owned()
        })?;
        number += 1;
        conversations::ask_anew(bench, number).await?;
    }
    Ok(())
}

fn unharmed(report: &Report) -> Result<(), AnyError> {
    let error = report.last_error.as_deref().unwrap_or_default();
    demand(report.lost == 0, || format!("{} requests lost: {error}", report.lost))?;
    demand(report.answered > 50, || format!("only {} answered", report.answered))
}
