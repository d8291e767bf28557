//! OpenResty's Lua inside nginx, by the example of its own README: only addresses and paths differ.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::{Balance, Gateway, Mistake, Site, get, program};
use crate::http::AnyError;
use crate::process::{self, Process};

pub(super) struct OpenResty;

/// Names another nginx or OpenResty than the installed one.
const PROGRAM: &str = "OPENRESTY_PROGRAM";
const FILE: &str = "nginx.conf";
const EXAMPLE: &str = include_str!("../../../openresty/example/nginx.conf");

/// What only the harness wants: the worker that answered, and a worker taken out by the operator.
const ANSWERED_BY: &str = "            add_header x-pointsman-worker $upstream_addr always;";
const TAKE_OUT: &str =
    "        location = /drain { content_by_lua_block { assert(llm:drain(ngx.var.arg_worker)) } }
        location = /resume { content_by_lua_block { assert(llm:resume(ngx.var.arg_worker)) } }";

impl Gateway for OpenResty {
    fn name(&self) -> &'static str {
        "openresty"
    }

    fn version(&self) -> Option<Command> {
        let mut command = Command::new(program("nginx", PROGRAM));
        command.arg("-v");
        Some(command)
    }

    fn build(&self, root: &Path) -> Result<(), AnyError> {
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "-p", "pointsman-ffi"]).current_dir(root);
        process::run(&mut command).map(drop)
    }

    fn configure(&self, site: &Site, balance: Balance) -> Result<(), AnyError> {
        let ours = matches!(balance, Balance::Pointsman(_));
        let mut lines = vec!["daemon off;".to_owned(), format!("pid {}/pid;", site.dir.display())];
        lines.push("error_log stderr warn;".to_owned());
        for line in EXAMPLE.lines() {
            let word = line.split_whitespace().next().unwrap_or_default();
            let of_status = line.contains("127.0.0.1:8081");
            match (word, balance) {
                // Its own balancing is the same configuration without pointsman.
                ("access_by_lua_block" | "header_filter_by_lua_block", _) if !ours => {}
                ("body_filter_by_lua_block" | "log_by_lua_block", _) if !ours => {}
                ("init_worker_by_lua_block", _) if !ours => {}
                ("server", Balance::RoundRobin | Balance::LeastConnections)
                    if !line.contains('{') =>
                {
                    lines.push(site.each_engine(|_, engine| format!("        server {engine};")));
                }
                ("balancer_by_lua_block", Balance::LeastConnections) => {
                    lines.push("        least_conn;".to_owned());
                }
                ("balancer_by_lua_block", Balance::RoundRobin) => {}
                ("worker_processes", _) => lines.push("worker_processes 1;".to_owned()),
                ("http", _) => lines.extend([line.to_owned(), places(site)]),
                ("lua_package_path", _) => lines.push(line.replace(
                    "/usr/local/share/pointsman",
                    &site.root.join("integrations/openresty").to_string_lossy(),
                )),
                ("workers", _) => {
                    let workers = site.each_engine(|_, engine| format!("\"{engine}\", "));
                    lines.push(format!(
                        "            workers = {{ {} }},",
                        workers.replace('\n', "")
                    ));
                    let library = site.root.join("target/release/libpointsman.so");
                    lines.push(format!("            library = \"{}\",", library.display()));
                }
                ("policy", Balance::Pointsman(policy)) => {
                    lines.push(format!("            policy = \"{policy}\","));
                }
                ("listen", _) if of_status => {
                    lines.push(format!("        listen 127.0.0.1:{};", site.status));
                    lines.push(TAKE_OUT.to_owned());
                }
                ("listen", _) => lines.push(format!("        listen 127.0.0.1:{};", site.listen)),
                ("proxy_pass", _) => lines.extend([line.to_owned(), ANSWERED_BY.to_owned()]),
                _ => lines.push(line.to_owned()),
            }
        }
        site.write(FILE, &(lines.join("\n") + "\n"))
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new(program("nginx", PROGRAM));
        // Modules lie where Debian puts them.
        command.args(["-p", "/usr/share/nginx", "-e", "stderr", "-c"]).arg(site.dir.join(FILE));
        command
    }

    fn reload(&self, _site: &Site, process: &Process) -> Result<(), AnyError> {
        process.signal(Signal::HUP)
    }

    fn take_out(&self, site: &Site, worker: usize, out: bool) -> Option<Result<(), AnyError>> {
        let call = if out { "drain" } else { "resume" };
        let answer = get(site.status, &format!("/{call}?worker={}", site.engines[worker]));
        Some(answer.and_then(|text| {
            if text.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(text.into()) }
        }))
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let of = |correct, mistaken, named| Mistake { correct, mistaken, named, file: FILE };
        vec![
            of("policy =", "polcy =", "unknown option 'polcy'"),
            of("\"cache_aware\"", "\"cash_aware\"", "policy: "),
            of("\"64m\"", "\"64 quarts\"", "budget: "),
            of("\"64m\"", "\"1\"", "budget: "),
            of("\"64m\"", "\"64m\", kv_tokens = \"many\"", "kv_tokens: "),
            of("\"64m\"", "\"64m\", tries = 0", "tries: "),
            of("\"64m\"", "\"64m\", config = \"{}\"", "config: "),
            of(
                "workers = { ",
                "workers = { \"engine\", ",
                "expected \"address:port\", got 'engine'",
            ),
            of("workers = { ", "workers = { \"10.0.0.1:1\", \"10.0.0.1:1\", ", "workers: "),
            of("libpointsman.so", "libpointsmen.so", "library: "),
        ]
    }
}

/// Temporary files and the log in the site's directory.
fn places(site: &Site) -> String {
    let dir = site.dir.display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = kinds.map(|kind| format!("    {kind}_temp_path {dir}/{kind};"));
    format!("    access_log {dir}/access.log;\n{}", temporary.join("\n"))
}
