//! The gateways that can be run. A new one is one file here, with one implementation of [`Gateway`],
//! and one line in [`ALL`].

pub(crate) mod envoy;
mod example;
pub(crate) mod haproxy;
pub(crate) mod nginx;
mod openresty;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cases::Case;
use crate::http::AnyError;
use crate::process::Process;

static ALL: &[&dyn Gateway] =
    &[&nginx::PLAIN, &openresty::OpenResty, &envoy::Envoy, &haproxy::Haproxy, &example::Example];

/// What the harness needs to know about a gateway.
///
/// Whatever its configuration balances by, the gateway names the address of the worker that answered
/// in the header `x-pointsman-worker`, as `127.0.0.1:9001` or with `http://` before it; where it tried
/// several, the last one counts.
pub(crate) trait Gateway: Sync {
    /// Its name on the command line and in tables.
    fn name(&self) -> &'static str;

    /// What tells its version, in the first line that it prints.
    fn version(&self) -> Option<Command> {
        None
    }

    /// Builds its module: the one command of its README.
    fn build(&self, root: &Path) -> Result<(), AnyError>;

    /// Writes its configuration into the site's directory.
    fn configure(&self, site: &Site, balance: Balance) -> Result<(), AnyError>;

    /// Starts it in the foreground, with the configuration written before.
    fn command(&self, site: &Site) -> Command;

    /// Whether all its workers are there, once it serves at all, judged by what it printed.
    fn ready(&self, _printed: &str) -> bool {
        true
    }

    /// Makes it take up its configuration anew while it serves.
    fn reload(&self, site: &Site, process: &Process) -> Result<(), AnyError>;

    /// Where it tells how it stands. What is there now is what [`Gateway::in_flight`] reads.
    fn status_url(&self, site: &Site) -> String {
        format!("http://127.0.0.1:{}/metrics", site.status)
    }

    /// Requests in flight as its status says: by default the sum of pointsman's own gauge.
    fn in_flight(&self, status: &str) -> Option<u64> {
        sum_of(status, "pointsman_worker_in_flight")
    }

    /// Whether that page is pointsman's own, in the OpenMetrics format.
    fn open_metrics(&self) -> bool {
        true
    }

    /// Cached tokens that the engines reported, as its status says.
    fn reported_cached(&self, status: &str) -> Option<u64> {
        sum_of(status, "pointsman_worker_reported_cached_tokens_total")
    }

    /// Requests that counted against a worker's health, as its status says; nothing if it does not.
    fn blamed(&self, status: &str) -> Option<u64> {
        let failures = status.lines().filter(|line| line.contains("outcome=\"worker_error\""));
        sum_of(&failures.collect::<Vec<_>>().join("\n"), "pointsman_worker_failures_total")
    }

    /// What the comparison measures.
    fn rows(&self) -> Vec<Row> {
        let of = |name, balance| Row { name, balance, gateway: None };
        vec![
            of("its own round robin", Balance::RoundRobin),
            of("its own least connections", Balance::LeastConnections),
            of("pointsman", Balance::Pointsman("cache_aware")),
        ]
    }

    /// Cases that concern this gateway only, each on the gateway as that case wants it set up.
    fn cases(&self) -> Vec<(&'static dyn Gateway, &'static Case)> {
        Vec::new()
    }

    /// Takes a worker out of service, as its operator would, or puts it back; nothing if that is not tried.
    fn take_out(&self, _site: &Site, _worker: usize, _out: bool) -> Option<Result<(), AnyError>> {
        None
    }

    /// Mistakes in its configuration that it must refuse to start with.
    fn mistakes(&self) -> Vec<Mistake> {
        Vec::new()
    }

    /// Checks the configuration written before, without serving.
    fn check(&self, site: &Site) -> Command {
        self.command(site)
    }
}

/// How a gateway chooses among its workers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Balance {
    /// Its own round robin.
    RoundRobin,
    /// Its own least connections.
    LeastConnections,
    /// pointsman with this policy, by name.
    Pointsman(&'static str),
}

/// One row of the comparison.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) balance: Balance,
    /// Set up otherwise than for the cases.
    pub(crate) gateway: Option<&'static dyn Gateway>,
}

/// One mistake in a configuration.
pub(crate) struct Mistake {
    /// Replaced in the configuration file that is correct ...
    pub(crate) correct: &'static str,
    /// ... by this.
    pub(crate) mistaken: &'static str,
    /// What the refusal must name.
    pub(crate) named: &'static str,
    /// The file, in the site's directory.
    pub(crate) file: &'static str,
}

/// One run's places: directory, addresses, workers.
pub(crate) struct Site {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Configuration, logs, sockets of this run.
    pub(crate) dir: PathBuf,
    /// Port to serve on, at 127.0.0.1.
    pub(crate) listen: u16,
    /// Port for status and administration.
    pub(crate) status: u16,
    /// The workers.
    pub(crate) engines: Vec<SocketAddr>,
}

impl Site {
    /// One line of configuration for each worker, made by `line` from its number and address.
    pub(crate) fn each_engine(&self, line: impl Fn(usize, SocketAddr) -> String) -> String {
        let lines = self.engines.iter().enumerate().map(|(number, &engine)| line(number, engine));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Writes a file into the site's directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), AnyError> {
        Ok(std::fs::write(self.dir.join(name), text)?)
    }
}

/// The program of a gateway: the installed one, or the newer one whose place is in this variable.
pub(crate) fn program(name: &str, variable: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| name.into())
}

/// A gateway by its name.
pub(crate) fn find(name: &str) -> Result<&'static dyn Gateway, String> {
    let known: Vec<_> = ALL.iter().map(|gateway| gateway.name()).collect();
    let found = ALL.iter().find(|gateway| gateway.name() == name);
    found.copied().ok_or_else(|| format!("known gateways: {}", known.join(", ")))
}

/// What a port at 127.0.0.1 answers to a GET, with its head; blocks.
fn get(port: u16, path: &str) -> Result<String, AnyError> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Fills `{{name}}` fields of a configuration template.
pub(crate) fn fill(template: &str, fields: &[(&str, &str)]) -> String {
    fields.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

/// The sum of a Prometheus sample over its labels; nothing if there is none of that name.
pub(crate) fn sum_of(text: &str, name: &str) -> Option<u64> {
    let values: Vec<f64> = text
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() as u64)
}
