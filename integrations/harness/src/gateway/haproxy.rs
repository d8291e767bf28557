//! HAProxy, by the example of its own README: only addresses and paths differ.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::{Balance, Gateway, Mistake, Site, program};
use crate::cases::{self, Case};
use crate::http::AnyError;
use crate::process::{self, Process};

pub(super) struct Haproxy;

/// Names another HAProxy than the installed one; `integrations/run` sets it.
const PROGRAM: &str = "HAPROXY_PROGRAM";

const EXAMPLE: &str = include_str!("../../../haproxy/example/haproxy.cfg");
const SCRIPT: &str = include_str!("../../../haproxy/example/llm.lua");

/// The server that answered, for the harness; `%si` and `%sp` are its address and port.
const ANSWERED_BY: &str = "    http-response set-header x-pointsman-worker %si:%sp";

impl Gateway for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn version(&self) -> Option<Command> {
        let mut command = Command::new(program("haproxy", PROGRAM));
        command.arg("-v");
        Some(command)
    }

    fn build(&self, root: &Path) -> Result<(), AnyError> {
        process::run(Command::new("make").args(["-C", "integrations/haproxy"]).current_dir(root))
            .map(drop)
    }

    fn configure(&self, site: &Site, balance: Balance) -> Result<(), AnyError> {
        let mut lines = Vec::new();
        for line in EXAMPLE.lines() {
            lines.push(match (line.split_whitespace().next(), balance) {
                (Some("lua-load-per-thread"), Balance::Pointsman(_)) => load_script(site),
                // Its own balancing is the same configuration without pointsman.
                (Some("lua-load-per-thread"), _) => continue,
                (_, Balance::RoundRobin | Balance::LeastConnections)
                    if line.contains("pointsman") =>
                {
                    continue;
                }
                (Some("balance"), Balance::RoundRobin) => "    balance roundrobin".to_owned(),
                (Some("bind"), _) if line.contains("8404") => {
                    format!("    bind 127.0.0.1:{}", site.status)
                }
                (Some("bind"), _) => format!("    bind 127.0.0.1:{}", site.listen),
                (Some("server"), _) if line.contains("gpu1") => servers(site),
                (Some("server"), _) => continue,
                (Some("global"), _) => {
                    format!("global\n    stats socket {}/socket level admin", site.dir.display())
                }
                _ => line.to_owned(),
            });
        }
        if let Balance::Pointsman(policy) = balance {
            site.write("llm.lua", &SCRIPT.replace("cache_aware", policy))?;
        }
        site.write("haproxy.cfg", &(lines.join("\n") + "\n"))
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new(program("haproxy", PROGRAM));
        command.arg("-W").arg("-db").arg("-f").arg(site.dir.join("haproxy.cfg"));
        command
    }

    fn reload(&self, _site: &Site, process: &Process) -> Result<(), AnyError> {
        process.signal(Signal::USR2)
    }

    fn take_out(&self, site: &Site, worker: usize, out: bool) -> Option<Result<(), AnyError>> {
        let state = if out { "drain" } else { "ready" };
        Some(tell(site, &format!("set server llm/gpu{worker} state {state}")))
    }

    fn cases(&self) -> Vec<(&'static dyn Gateway, &'static Case)> {
        cases::haproxy::ALL.iter().map(|case| (&Haproxy as &dyn Gateway, case)).collect()
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let script =
            |correct, mistaken, named| Mistake { correct, mistaken, named, file: "llm.lua" };
        vec![
            script("policy =", "polcy =", "unknown option 'polcy'"),
            script("cache_aware", "cash_aware", "policy: "),
            script("\"64m\"", "\"64 quarts\"", "budget: "),
            script("\"64m\"", "\"1\"", "budget: "),
            script("budget = \"64m\"", "kv_tokens = \"many\"", "kv_tokens: "),
            script("\"llm\"", "\"lmm\"", "'lmm': the configuration has no such backend"),
            Mistake {
                correct: "filter lua.pointsman",
                mistaken: "filter lua.pointsman budget=64m",
                named: "budget=64m",
                file: "haproxy.cfg",
            },
        ]
    }
}

/// Checks the configuration by `-c`, which does not look for the backends that the script names.
pub(crate) fn validate(site: &Site) -> Result<(), AnyError> {
    let mut command = Command::new(program("haproxy", PROGRAM));
    process::run(command.arg("-c").arg("-f").arg(site.dir.join("haproxy.cfg"))).map(drop)
}

/// One command to the running HAProxy.
pub(crate) fn tell(site: &Site, command: &str) -> Result<(), AnyError> {
    let mut socket = UnixStream::connect(site.dir.join("socket"))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.write_all(format!("{command}\n").as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    // What it says of a success.
    let fine = |line: &str| {
        line.is_empty()
            || ["New server", "Server deleted"].iter().any(|said| line.starts_with(said))
    };
    if answer.lines().all(|line| fine(line.trim())) { Ok(()) } else { Err(answer.into()) }
}

/// Whether this HAProxy shows Lua the servers that are added at run time: since 2.8.
pub(crate) fn shows_added() -> bool {
    let printed = Haproxy.version().and_then(|mut command| command.output().ok());
    let printed = printed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = printed.as_deref().and_then(|text| text.split("version ").nth(1));
    let mut numbers = version.unwrap_or_default().split('.').filter_map(|part| part.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (2, 8)
}

/// Module and script from where they were built, not from where they would be installed.
fn load_script(site: &Site) -> String {
    let built = site.root.join("integrations/haproxy");
    format!(
        "    lua-prepend-path {0}/?.so cpath\n    lua-prepend-path {0}/?.lua\n    lua-load-per-thread {1}/llm.lua",
        built.display(),
        site.dir.display()
    )
}

fn servers(site: &Site) -> String {
    let checked = site
        .each_engine(|number, engine| format!("    server gpu{number} {engine} check inter 250"));
    format!("{ANSWERED_BY}\n{checked}")
}
