//! The two routers.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::rule::Threshold;

/// How a router chooses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Policy {
    RoundRobin,
    CacheAware(Threshold),
}

/// A router that can be started.
pub(crate) struct Router {
    /// Its command line, but for addresses.
    command: Command,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Sglang,
    Pointsman,
}

impl Router {
    /// sglang-router, without retries, so that each request goes to one worker.
    pub(crate) fn sglang(python: &Path, policy: &Policy) -> Router {
        let mut command = Command::new(python);
        command.args(["-m", "sglang_router.launch_router", "--disable-retries"]);
        command.args(["--disable-circuit-breaker", "--log-level", "warn"]);
        command.args(["--prometheus-host", "127.0.0.1", "--host", "127.0.0.1"]);
        match policy {
            Policy::RoundRobin => command.args(["--policy", "round_robin"]),
            Policy::CacheAware(Threshold { cache, abs, rel }) => command
                .args(["--policy", "cache_aware"])
                .args(["--cache-threshold", &cache.to_string()])
                .args(["--balance-abs-threshold", &abs.to_string()])
                .args(["--balance-rel-threshold", &rel.to_string()]),
        };
        Router { command, kind: Kind::Sglang }
    }

    /// The example gateway with the threshold rule.
    pub(crate) fn pointsman(gateway: &Path, policy: &Policy) -> Router {
        let mut command = Command::new(gateway);
        let policy = match policy {
            Policy::RoundRobin => json!("round_robin").to_string().replace('"', ""),
            Policy::CacheAware(Threshold { cache, abs, rel }) => {
                json!({"cache_aware": {"rule": {"threshold": {
                    "cache_threshold": cache,
                    "balance_abs_threshold": abs,
                    "balance_rel_threshold": rel,
                }}}})
                .to_string()
            }
        };
        command.args(["--policy", &policy, "--probe-interval", "0"]);
        Router { command, kind: Kind::Pointsman }
    }

    /// Its command line, over these workers.
    pub(crate) fn command(
        mut self,
        port: u16,
        other_port: u16,
        workers: &[String],
    ) -> (Command, Reader) {
        match self.kind {
            Kind::Sglang => {
                self.command.args(["--port", &port.to_string()]);
                self.command.args(["--prometheus-port", &other_port.to_string()]);
                self.command.arg("--worker-urls").args(workers);
            }
            Kind::Pointsman => {
                self.command.args(["--listen", &format!("127.0.0.1:{port}")]);
                self.command.args(workers.iter().flat_map(|url| ["--worker", url]));
            }
        }
        (self.command, Reader { kind: self.kind })
    }
}

/// Reads what a router says about its workers.
pub(crate) struct Reader {
    kind: Kind,
}

impl Reader {
    /// Healthy workers and requests in flight, from `GET /workers`.
    pub(crate) fn standing(&self, text: &[u8]) -> Option<(usize, u64)> {
        let document: Value = serde_json::from_slice(text).ok()?;
        let (list, healthy, load) = match self.kind {
            Kind::Sglang => (document.get("workers")?.as_array()?, "is_healthy", "load"),
            Kind::Pointsman => {
                (document.get("workers").unwrap_or(&document).as_array()?, "healthy", "in_flight")
            }
        };
        let count = list.iter().filter(|worker| worker[healthy] == true).count();
        let loads = list.iter().map(|worker| worker[load].as_u64()).sum::<Option<u64>>()?;
        Some((count, loads))
    }
}
