//! Worker processes, reloads, the end.

use std::collections::BTreeSet;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustix::process::{Signal, kill_process};

use super::attempts;
use crate::bench::{Bench, until};
use crate::cases::{Verdict, demand, streams};
use crate::gateway::nginx::FILE;

/// Prompts that a process has not seen go where the other sent them, and after a reload, when no process
/// has seen any, where they went before.
pub(super) async fn agreement(bench: &mut Bench) -> Verdict {
    const PROMPTS: u64 = 24;
    let mut first = Vec::new();
    for number in 0..PROMPTS {
        first.push(attempts(bench, number).await?);
    }
    let before = bench.process().children();
    bench.reload()?;
    until("the old processes end", || {
        bench.process().children().iter().all(|child| !before.contains(child))
    })
    .await?;
    let mut again = 0;
    for (number, first) in first.iter().enumerate() {
        again += u64::from(attempts(bench, number as u64).await? == *first);
    }
    let workers = first.iter().collect::<BTreeSet<_>>().len();
    demand(workers == 4, || format!("all at {workers} workers"))?;
    demand(again * 10 >= PROMPTS * 9, || format!("{again} of {PROMPTS} came back"))?;
    Ok(format!("{again} of {PROMPTS} prompts came back to their worker"))
}

/// The README's shortest configuration serves, with this run's addresses in it.
pub(super) async fn readme(bench: &mut Bench) -> Verdict {
    let readme = include_str!("../../../../nginx/README.md");
    let block = readme.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next());
    let (site, path) = (&bench.site, bench.site.dir.join(FILE));
    let own = std::fs::read_to_string(&path)?;
    let (globals, http) = own.split_once("http {").ok_or("no http block")?;
    let load_module = globals.lines().find(|line| line.starts_with("load_module"));
    let temporary = http.lines().filter(|line| line.contains("_temp_path"));
    let text = block
        .ok_or("the README has no configuration")?
        .replace(
            "load_module /path/to/ngx_http_pointsman_module.so;",
            load_module.unwrap_or_default(),
        )
        .replace("10.0.0.1:8000", &site.engines[0].to_string())
        .replace("10.0.0.2:8000", &site.engines[1].to_string())
        .replace(
            "listen 8080;",
            &format!("listen 127.0.0.1:{}; listen 127.0.0.1:{};", site.listen, site.status),
        )
        .replace(
            "events {}",
            &format!("daemon off; error_log stderr; pid {}/pid; events {{}}", site.dir.display()),
        )
        .replace("http {", &format!("http {{ access_log off; {}", temporary.collect::<String>()));
    site.write(FILE, &text)?;
    bench.process().signal(Signal::QUIT)?;
    until("nginx ends", || bench.process().ended().is_some()).await?;
    bench.restart().await?;
    streams::stream(bench, 1, 3).await?.collect().await?;
    bench.until_in_flight(0).await?;
    Ok("serves".to_owned())
}

/// Asked to end, nginx finishes what is under way.
pub(super) async fn shutdown(bench: &mut Bench) -> Verdict {
    const STREAMS: u64 = 8;
    let mut answers: Vec<Incoming> = Vec::new();
    for number in 0..STREAMS {
        answers.push(streams::stream(bench, number, 30).await?);
    }
    bench.process().signal(Signal::QUIT)?;
    for answer in answers {
        let text = answer.collect().await?.to_bytes();
        demand(text.ends_with(b"data: [DONE]\n\n"), || "an answer broke off".to_owned())?;
    }
    until("nginx ends", || bench.process().ended().is_some()).await?;
    bench.restart().await?;
    Ok(format!("{STREAMS} answers finished"))
}

/// A process that dies takes its requests with it, and what was counted of them.
pub(super) async fn process_killed(bench: &mut Bench) -> Verdict {
    for number in 0..8 {
        // The clients stay, in the background, until their connections break.
        let answer = streams::stream(bench, number, 2_000).await?;
        tokio::spawn(answer.collect());
    }
    let before = bench.process().children();
    for &child in &before {
        kill_process(child, Signal::KILL)?;
    }
    let processes = before.len();
    until("nginx starts new processes", || {
        let now = bench.process().children();
        now.len() == processes && now.iter().all(|child| !before.contains(child))
    })
    .await?;
    bench.until_in_flight(0).await?;
    let attempts = attempts(bench, 100).await?;
    Ok(format!("{processes} killed with 8 requests, then answered by {}", attempts.join(", ")))
}
