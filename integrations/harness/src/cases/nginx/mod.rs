//! What only nginx has: its own judgement of servers, its retries, its processes.

mod processes;
mod requests;
mod resolving;
mod servers;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Case, bodies, conversations, quick, slow, vast, volume};
use crate::bench::Bench;
use crate::engine::EngineConfig;
use crate::gateway::nginx::Nginx;
use crate::http::{AnyError, client};

/// nginx with one process or two, its template changed as said.
const fn one(edits: &'static [(&'static str, &'static str)]) -> Nginx {
    Nginx { processes: 1, edits, hosts: None }
}
const fn two(edits: &'static [(&'static str, &'static str)]) -> Nginx {
    Nginx { processes: 2, edits, hosts: None }
}

pub(crate) static ALL: &[(Nginx, Case)] = &[
    (
        two(&[(
            "{{servers}}",
            "server {{engine0}} max_fails=0; server {{engine1}} max_fails=0; server {{engine2}};",
        )]),
        case!("a retry goes elsewhere", 3, quick, servers::retries),
    ),
    (
        one(&[(
            "{{servers}}",
            "server {{engine0}} fail_timeout=60s; server {{engine1}}; server {{engine2}};",
        )]),
        case!("max_fails and fail_timeout", 3, quick, servers::max_fails),
    ),
    (
        two(&[(
            "{{servers}}",
            "zone engines 256k; server {{engine0}} fail_timeout=60s; server {{engine1}};",
        )]),
        case!("servers in a zone", 2, quick, servers::max_fails),
    ),
    (
        two(&[(
            "{{servers}}",
            "server {{engine0}} down; server {{engine1}}; server {{engine2}} backup;",
        )]),
        case!("down and backup", 3, quick, servers::down_and_backup),
    ),
    (
        one(&[
            ("{{servers}}", "server {{engine0}} weight=3; server {{engine1}};"),
            ("{{balance}}", "pointsman policy=round_robin;"),
        ]),
        case!("weights", 2, quick, servers::weights),
    ),
    (
        Nginx {
            processes: 1,
            edits: &[("{{servers}}", "server engines.test:{{port0}} max_fails=0;")],
            hosts: Some("127.0.0.1 engines.test\n127.0.0.2 engines.test\n"),
        },
        case!("a name with several addresses", 1, quick, servers::names),
    ),
    (
        two(&[("proxy_buffering off;", "proxy_buffering off; proxy_request_buffering off;")]),
        case!("bodies that are not buffered", 2, vast, requests::unbuffered_bodies),
    ),
    (
        two(&[("client_body_temp_path", "client_body_buffer_size 4m; client_body_temp_path")]),
        case!("bodies of 1 MB in memory", 2, vast, bodies::large),
    ),
    (
        two(&[("{{balance}}", "pointsman routing_key=$http_x_session namespace=$http_x_team;")]),
        case!("routing keys and namespaces", 4, EngineConfig::default, requests::keys),
    ),
    (
        one(&[]),
        case!("the access log tells the decision", 4, EngineConfig::default, requests::access_log),
    ),
    (one(&[]), case!("first byte and usage", 2, slow, requests::reports)),
    (
        one(&[("proxy_buffering off;", "proxy_buffering off; proxy_read_timeout 1s;")]),
        case!("outcomes", 1, slow, requests::outcomes),
    ),
    (
        two(&[(
            "{{servers}}",
            "zone engines 256k; server {{engine0}} max_conns=1; server {{engine1}};",
        )]),
        case!("max_conns", 2, slow, servers::max_conns),
    ),
    (one(&[]), case!("an only server, its connection closed", 1, quick, servers::only)),
    (
        one(&[
            (
                "{{servers}}",
                "server {{engine0}} max_fails=3; server {{engine1}} max_fails=3; \
                 server {{engine2}} max_fails=3; server {{engine3}} max_fails=3;",
            ),
            ("proxy_next_upstream error timeout non_idempotent;", servers::RETRIES),
        ]),
        case!("one poison request", 4, quick, servers::poison),
    ),
    (two(&[]), case!("processes and reloads agree", 4, quick, processes::agreement)),
    (one(&[]), case!("the README's configuration", 2, quick, processes::readme)),
    (two(&[]), case!("graceful shutdown", 2, slow, processes::shutdown)),
    (two(&[]), case!("a process killed", 2, slow, processes::process_killed)),
    (one(&[]), case!("10,000 requests, one process", 8, quick, volume::ten_thousand)),
    (
        Nginx { processes: 4, edits: &[], hosts: None },
        case!("10,000 requests, four processes", 8, quick, volume::ten_thousand),
    ),
];

/// For an nginx that follows names.
pub(crate) static RESOLVING: &[(Nginx, Case)] = &[(
    one(&[
        (
            "upstream engines {",
            "resolver 127.0.0.1:{{port1}} valid=1s ipv6=off; resolver_timeout 1s; upstream engines {",
        ),
        (
            "{{servers}}",
            "zone engines 256k; server engines.test:{{port0}} resolve max_fails=0; server {{engine1}} backup;",
        ),
    ]),
    case!("a name's addresses change", 2, quick, resolving::follows),
)];

/// Asks something new, over a connection of its own, which any of nginx's processes may take; the workers
/// that were tried, the one that answered last.
async fn attempts(bench: &mut Bench, number: u64) -> Result<Vec<String>, AnyError> {
    bench.client = client(Duration::from_secs(2));
    let answer = conversations::ask_anew(bench, number).await?;
    let named = answer.worker.ok_or("the answer names no worker")?;
    Ok(named.split(',').map(|worker| worker.trim().to_owned()).collect())
}

fn address(bench: &Bench, engine: usize) -> String {
    bench.site.engines[engine].to_string()
}

/// The sum of a metric over the lines that contain a label.
fn sum(status: &str, name: &str, label: &str) -> u64 {
    let lines = status.lines().filter(|line| line.starts_with(name) && line.contains(label));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

/// Plays a worker: reads a small request and sends this.
async fn reply(connection: &mut TcpStream, answer: &str) -> Result<(), AnyError> {
    let _ = connection.read(&mut [0; 4096]).await?;
    Ok(connection.write_all(answer.as_bytes()).await?)
}
