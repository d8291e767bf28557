//! One gateway in front of fresh engines.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use axum::http::Method;

use crate::engine::{Engine, EngineConfig};
use crate::gateway::{Balance, Gateway, Site};
use crate::http::{AnyError, Client, call, client};
use crate::ports;
use crate::process::Process;

/// How long anything may take that should happen soon: 10 s, or the seconds in `HARNESS_PATIENCE`, for
/// gateways that run under a tool that slows them down.
static PATIENCE: LazyLock<Duration> = LazyLock::new(|| {
    let told = std::env::var("HARNESS_PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(told.unwrap_or(10))
});
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// A running gateway and its engines. Dropping it kills both.
pub(crate) struct Bench {
    pub(crate) gateway: &'static dyn Gateway,
    pub(crate) site: Site,
    pub(crate) engines: Vec<Engine>,
    pub(crate) client: Client,
    process: Process,
    keep: bool,
}

impl Bench {
    /// Starts `workers` engines and the gateway, and waits until it serves.
    pub(crate) async fn start(
        gateway: &'static dyn Gateway,
        balance: Balance,
        engine: &EngineConfig,
        workers: usize,
        keep: bool,
    ) -> Result<Bench, AnyError> {
        let (site, engines) = site(engine, workers).await?;
        gateway.configure(&site, balance)?;
        let process = Process::start(gateway.command(&site), &site.dir.join("log"))?;
        let client = client(Duration::from_secs(2));
        let mut bench = Bench { gateway, site, engines, client, process, keep };
        let served = bench.serves().await;
        served.map_err(|error| format!("{error}\n{}", bench.process.printed()))?;
        Ok(bench)
    }

    /// Base URL of the gateway.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.site.listen)
    }

    /// Starts the gateway again after it ended.
    pub(crate) async fn restart(&mut self) -> Result<(), AnyError> {
        self.process =
            Process::start(self.gateway.command(&self.site), &self.site.dir.join("log"))?;
        self.serves().await
    }

    /// Makes the gateway take up its configuration anew.
    pub(crate) fn reload(&self) -> Result<(), AnyError> {
        self.gateway.reload(&self.site, &self.process)
    }

    /// The gateway's process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What the gateway tells about itself.
    pub(crate) async fn status(&self) -> Result<String, AnyError> {
        let url = self.gateway.status_url(&self.site);
        match call(&self.client, Method::GET, &url, "").await? {
            (200, text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            (code, text) => Err(format!("{url} says {code}: {text:?}").into()),
        }
    }

    /// Requests in flight, as the gateway says.
    pub(crate) async fn in_flight(&self) -> Result<u64, AnyError> {
        let status = self.status().await?;
        let in_flight = self.gateway.in_flight(&status);
        in_flight.ok_or_else(|| format!("no requests in flight in: {status}").into())
    }

    /// Requests that counted against a worker's health, where the gateway says so.
    pub(crate) async fn blamed(&self) -> Result<Option<u64>, AnyError> {
        Ok(self.gateway.blamed(&self.status().await?))
    }

    /// Waits until the gateway says that this many requests are in flight.
    pub(crate) async fn until_in_flight(&self, expected: u64) -> Result<(), AnyError> {
        let mut last = 0;
        let begun = Instant::now();
        while begun.elapsed() < *PATIENCE {
            last = self.in_flight().await?;
            if last == expected {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!("{last} requests in flight, not {expected}").into())
    }

    /// Requests that the engines answered in full since their start.
    pub(crate) fn succeeded(&self) -> u64 {
        self.engines.iter().map(|engine| engine.stats().succeeded).sum()
    }

    /// What the gateway printed.
    pub(crate) fn printed(&self) -> String {
        self.process.printed()
    }

    /// All that the gateway printed.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Stops the gateway; its directory goes unless it is to be kept.
    pub(crate) async fn stop(self) {
        self.process.stop(Duration::from_secs(3)).await;
        if self.keep {
            eprintln!("kept: {}", self.site.dir.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.site.dir);
        }
    }

    /// Waits until a request without a body comes through.
    async fn serves(&mut self) -> Result<(), AnyError> {
        let url = format!("{}/v1/models", self.url());
        let begun = Instant::now();
        let mut last = String::new();
        while begun.elapsed() < *PATIENCE {
            if let Some(status) = self.process.ended() {
                return Err(format!("{} ended: {status}", self.gateway.name()).into());
            }
            match call(&self.client, Method::GET, &url, "").await {
                Ok((200, _)) if self.gateway.ready(&self.printed()) => return Ok(()),
                Ok((status, _)) => last = format!("{url} says {status}"),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!("{} does not serve: {last}", self.gateway.name()).into())
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) -> Result<(), AnyError> {
    let begun = Instant::now();
    while begun.elapsed() < *PATIENCE {
        if condition() {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(format!("never: {what}").into())
}

/// Waits until an answer of the gateway is as it should be.
pub(crate) async fn until_ok(
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) -> Result<(), AnyError> {
    let begun = Instant::now();
    while begun.elapsed() < *PATIENCE {
        if condition().await {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(format!("never: {what}").into())
}

/// Engines and a directory for one run.
pub(crate) async fn site(
    engine: &EngineConfig,
    workers: usize,
) -> Result<(Site, Vec<Engine>), AnyError> {
    let (mut engines, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..workers {
        let address = ([127, 0, 0, 1], ports::free()?).into();
        engines.push(Engine::start(engine.clone(), address).await?);
        addresses.push(address);
    }
    let (listen, status) = (ports::free()?, ports::free()?);
    let site = Site { root: root()?, dir: directory()?, listen, status, engines: addresses };
    Ok((site, engines))
}

/// The repository: the harness is run where it was built.
pub(crate) fn root() -> Result<PathBuf, AnyError> {
    Ok(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?)
}

fn directory() -> Result<PathBuf, AnyError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Relaxed);
    let dir = std::env::temp_dir().join(format!("pointsman-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}
