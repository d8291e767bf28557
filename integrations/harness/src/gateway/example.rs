//! The library's own example gateway: what the cases look like where the library has everything in hand.

use std::path::Path;
use std::process::Command;

use super::{Balance, Gateway, Site};
use crate::http::AnyError;
use crate::process::{self, Process};

pub(super) struct Example;

impl Gateway for Example {
    fn name(&self) -> &'static str {
        "example"
    }

    fn build(&self, root: &Path) -> Result<(), AnyError> {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(root).args(["build", "--release", "--quiet", "--example", "gateway"]);
        process::run(&mut cargo).map(drop)
    }

    fn configure(&self, site: &Site, balance: Balance) -> Result<(), AnyError> {
        let policy = match balance {
            Balance::RoundRobin => "round_robin",
            // The nearest that it has.
            Balance::LeastConnections => "power_of_two",
            Balance::Pointsman(policy) => policy,
        };
        let workers = site.each_engine(|_, engine| format!("--worker\nhttp://{engine}"));
        let listen = site.listen;
        site.write(
            "arguments",
            &format!("{workers}\n--policy\n{policy}\n--listen\n127.0.0.1:{listen}"),
        )
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new(site.root.join("target/release/examples/gateway"));
        let arguments = std::fs::read_to_string(site.dir.join("arguments")).unwrap_or_default();
        command.args(arguments.lines()).args(["--probe-interval", "250"]);
        command
    }

    /// It serves as soon as the first worker is registered.
    fn ready(&self, printed: &str) -> bool {
        printed.contains("workers")
    }

    /// It has no configuration file to take up: membership changes go through its HTTP interface.
    fn reload(&self, _site: &Site, _process: &Process) -> Result<(), AnyError> {
        Ok(())
    }

    fn status_url(&self, site: &Site) -> String {
        format!("http://127.0.0.1:{}/metrics", site.listen)
    }
}
