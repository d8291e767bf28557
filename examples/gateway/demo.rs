//! The demonstration: the same engines, the same load, one policy after the other, and in each run a
//! worker that dies and comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use pointsman::{PolicyConfig, Role};
use tokio::time::Instant;

use crate::engine::{Engine, EngineConfig};
use crate::http::AnyError;
use crate::load::{self, LoadConfig, Tally};
use crate::proxy::{Gateway, GatewayConfig, PromptSource};
use crate::table;

/// Any free port of this machine.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The worker dies after this share of a run ...
const KILL_AT: f64 = 0.35;
/// ... and is back after this.
const BACK_AT: f64 = 0.6;

/// Engines, load and how many.
pub(crate) struct Demo {
    pub(crate) workers: usize,
    pub(crate) engine: EngineConfig,
    pub(crate) load: LoadConfig,
}

/// One line of the table.
struct Contender {
    name: &'static str,
    policy: PolicyConfig,
    prompt: PromptSource,
}

fn contenders() -> Vec<Contender> {
    let plain = |name| Contender {
        name,
        policy: PolicyConfig::named(name),
        prompt: PromptSource::Conversation,
    };
    let cache_aware = |name, policy, prompt| Contender { name, policy, prompt };
    vec![
        plain("random"),
        plain("round_robin"),
        plain("power_of_two"),
        cache_aware(
            "cache_aware, threshold rule",
            PolicyConfig::threshold(Default::default()),
            PromptSource::Conversation,
        ),
        cache_aware(
            "cache_aware, first message only",
            PolicyConfig::least_work(Default::default()),
            PromptSource::FirstMessage,
        ),
        cache_aware("cache_aware (default)", PolicyConfig::default(), PromptSource::Conversation),
    ]
}

/// Runs everything and prints the table.
pub(crate) async fn run(demo: Demo) -> Result<(), AnyError> {
    println!("{}", demo.describe());
    let contenders = contenders();
    let mut engines = Vec::with_capacity(demo.workers);
    for _ in 0..demo.workers {
        engines.push(Engine::start(demo.engine.clone(), LOOPBACK).await?);
    }
    let bar = ProgressBar::new(demo.load.length.as_millis() as u64 * contenders.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {percent:>3}% {msg}")?);
    let mut rows = Vec::with_capacity(contenders.len());
    for contender in &contenders {
        rows.push((contender.name, demo.measure(contender, &mut engines, &bar).await?));
    }
    bar.finish_and_clear();
    println!("{}", table::render(&rows));
    match rows.iter().map(|(_, report)| report.lost).sum() {
        0u64 => Ok(()),
        lost => Err(format!("{lost} requests were lost").into()),
    }
}

impl Demo {
    fn describe(&self) -> String {
        let (engine, load) = (&self.engine, &self.load);
        format!(
            "{} simulated engines (prefill {} tokens/s, KV cache {} tokens), {} users in conversations of \
             about {} turns,\n{} shared system prompts; {} s for each policy; in each run one worker is \
             killed after {:.1} s and is back, empty, after {:.1} s.\n",
            self.workers,
            engine.prefill_rate,
            engine.kv_capacity_tokens,
            load.users,
            load.turns,
            load.applications,
            load.length.as_secs_f64(),
            load.length.as_secs_f64() * KILL_AT,
            load.length.as_secs_f64() * BACK_AT,
        )
    }

    /// One run, from empty caches.
    async fn measure(
        &self,
        contender: &Contender,
        engines: &mut [Engine],
        bar: &ProgressBar,
    ) -> Result<load::Report, AnyError> {
        for engine in engines.iter_mut() {
            engine.restart().await?;
        }
        let mut config = GatewayConfig {
            prompt: contender.prompt,
            probe_interval: Some(Duration::from_millis(250)),
            ..GatewayConfig::default()
        };
        config.router.policy = contender.policy.clone();
        let gateway = Gateway::start(config, LOOPBACK).await?;
        for engine in engines.iter() {
            gateway.add_worker(&engine.url(), Role::Regular).await?;
        }
        let tally = Arc::<Tally>::default();
        let target = gateway.url();
        let load = load::run(self.load.clone(), &target, tally.clone());
        let progress = self.progress(contender.name, &tally, bar);
        let (mut report, accident, ()) = tokio::join!(load, self.accident(engines), progress);
        accident?;
        report.retried = Some(gateway.metrics().retries());
        gateway.shutdown(Duration::from_secs(5)).await;
        Ok(report)
    }

    async fn accident(&self, engines: &mut [Engine]) -> Result<(), AnyError> {
        let Some(victim) = engines.first_mut() else { return Ok(()) };
        let started = Instant::now();
        tokio::time::sleep_until(started + self.load.length.mul_f64(KILL_AT)).await;
        victim.kill().await;
        tokio::time::sleep_until(started + self.load.length.mul_f64(BACK_AT)).await;
        Ok(victim.restart().await?)
    }

    async fn progress(&self, name: &'static str, tally: &Tally, bar: &ProgressBar) {
        let (begun, started) = (bar.position(), Instant::now());
        while started.elapsed() < self.load.length {
            bar.set_message(format!("{name}: {} requests", tally.answers()));
            bar.set_position(begun + started.elapsed().as_millis() as u64);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bar.set_position(begun + self.load.length.as_millis() as u64);
    }
}
