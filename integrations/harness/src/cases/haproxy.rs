//! What only HAProxy has: servers that come and go by its runtime interface, and its README's policies.

use std::time::Duration;

use super::{Case, Verdict, conversations, demand, quick};
use crate::bench::{Bench, until_ok};
use crate::engine::Engine;
use crate::gateway::{Balance, haproxy};
use crate::ports;

pub(crate) static ALL: &[Case] = &[
    case!("a server added and deleted at run time", 2, quick, added),
    case!("the README's policies", 1, quick, policies),
];

/// A server that is added gets its share where HAProxy shows it to Lua, and vanishes when it is deleted; elsewhere the
/// log says that pointsman does not see it.
async fn added(bench: &mut Bench) -> Verdict {
    let third = Engine::start(quick(), ([127, 0, 0, 1], ports::free()?).into()).await?;
    let address = third.url().trim_start_matches("http://").to_owned();
    let tell = |command: &str| haproxy::tell(&bench.site, command);
    tell(&format!("experimental-mode on; add server llm/late {address} check inter 250"))?;
    tell("enable server llm/late; enable health llm/late")?;
    if haproxy::shows_added() {
        let worker = |status: &str| status.contains("worker=\"late\"");
        until_ok("the worker is there", async || {
            bench.status().await.is_ok_and(|status| worker(&status))
        })
        .await?;
        let mut number = 0;
        until_ok("it serves", async || {
            number += 1;
            let _ = conversations::ask_anew(bench, number).await;
            third.stats().succeeded > 3
        })
        .await?;
        haproxy::tell(&bench.site, "set server llm/late state maint")?;
        until_ok("it is deleted", async || {
            haproxy::tell(&bench.site, "experimental-mode on; del server llm/late").is_ok()
        })
        .await?;
        until_ok("the worker is gone", async || {
            bench.status().await.is_ok_and(|status| !worker(&status))
        })
        .await?;
        let served = third.stats().succeeded;
        for number in 100..120 {
            conversations::ask_anew(bench, number).await?;
        }
        demand(third.stats().succeeded == served, || "it serves still".to_owned())?;
        return Ok(format!("followed: {served} requests while it was there, none after"));
    }
    for number in 0..20 {
        conversations::ask_anew(bench, number).await?;
    }
    demand(third.stats().succeeded == 0, || "pointsman named it".to_owned())?;
    // It is the only one that is left.
    for engine in &mut bench.engines {
        engine.kill().await;
    }
    let mut number = 100;
    until_ok("HAProxy sends it requests by itself", async || {
        number += 1;
        let _ = conversations::ask_anew(bench, number).await;
        third.stats().succeeded > 0
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let said = bench.log().contains("server 'llm/late' was added at run time");
    demand(said, || "the log does not say so".to_owned())?;
    Ok("named by HAProxy itself only, and the log says so".to_owned())
}

/// Each policy that the README names is taken.
async fn policies(bench: &mut Bench) -> Verdict {
    let readme = include_str!("../../../haproxy/README.md");
    let row = readme.lines().find(|line| line.starts_with("| `policy` |")).ok_or("no such row")?;
    let names: Vec<_> =
        row.split("`\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    demand(names.len() > 6, || format!("only {names:?}"))?;
    let json = row.split("`'").nth(1).and_then(|rest| rest.split("'`").next()).ok_or("no JSON")?;
    for &name in &names {
        bench.gateway.configure(&bench.site, Balance::Pointsman(name))?;
        haproxy::validate(&bench.site)?;
    }
    let script = bench.site.dir.join("llm.lua");
    let text = std::fs::read_to_string(&script)?;
    let last = format!("\"{}\"", names.last().ok_or("no name")?);
    demand(text.contains(&last), || format!("no {last} in {text}"))?;
    std::fs::write(&script, text.replace(&last, &format!("'{json}'")))?;
    haproxy::validate(&bench.site)?;
    Ok(format!("{} and {json}", names.join(", ")))
}
