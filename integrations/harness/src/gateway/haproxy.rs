//! HAProxy.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::{Balance, Gateway, Site, fill};
use crate::http::AnyError;
use crate::process::Process;

pub(super) struct Haproxy;

const FILE: &str = "haproxy.cfg";

impl Gateway for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn build(&self, _root: &Path) -> Result<(), AnyError> {
        Ok(())
    }

    fn configure(&self, site: &Site, balance: Balance) -> Result<(), AnyError> {
        let balance = match balance {
            Balance::RoundRobin => "balance roundrobin",
            Balance::LeastConnections => "balance leastconn",
            Balance::Pointsman(_) => "balance roundrobin",
        };
        let servers = site.each_engine(|number, engine| {
            format!("    server w{number} {engine} check inter 250 fall 2 rise 1 observe layer4 error-limit 3 on-error mark-down")
        });
        let fields = [
            ("listen", &*site.listen.to_string()),
            ("status", &*site.status.to_string()),
            ("balance", balance),
            ("servers", &servers),
        ];
        site.write(FILE, &fill(TEMPLATE, &fields))
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new("haproxy");
        command.arg("-W").arg("-db").arg("-f").arg(site.dir.join(FILE));
        command
    }

    fn reload(&self, _site: &Site, process: &Process) -> Result<(), AnyError> {
        process.signal(Signal::USR2)
    }

    fn check(&self, site: &Site) -> Command {
        let mut command = Command::new("haproxy");
        command.arg("-c").arg("-f").arg(site.dir.join(FILE));
        command
    }
}

const TEMPLATE: &str = "\
global
    maxconn 4000
    nbthread 2

defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    retries 3
    retry-on conn-failure empty-response
    option redispatch 1
    option http-buffer-request

frontend front
    bind 127.0.0.1:{{listen}}
    default_backend engines

backend engines
    {{balance}}
    option httpchk GET /health
    http-response set-header x-pointsman-worker %si:%sp
{{servers}}
";
