//! nginx.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Balance, Gateway, Mistake, Row, Site, fill, get, program};
use crate::cases::{self, Case};
use crate::http::AnyError;
use crate::process::{self, Process};

/// nginx, set up in one way.
pub(crate) struct Nginx {
    /// Worker processes.
    pub(crate) processes: usize,
    /// What is written otherwise in the template: the first by the second.
    pub(crate) edits: &'static [(&'static str, &'static str)],
    /// What it finds in /etc/hosts.
    pub(crate) hosts: Option<&'static str>,
}

/// As the common cases and the comparison of nginx's own balancing have it.
pub(super) static PLAIN: Nginx = Nginx { processes: 2, edits: &[], hosts: None };
static ONE: Nginx = Nginx { processes: 1, edits: &[], hosts: None };
static FOUR: Nginx = Nginx { processes: 4, edits: &[], hosts: None };

pub(crate) const FILE: &str = "nginx.conf";
const HOSTS: &str = "hosts";
const MODULE: &str = "ngx_http_pointsman_module.so";
/// Where the module is built for an nginx that is not the installed one; `integrations/run` sets these.
const PROGRAM: &str = "NGINX_PROGRAM";
const FOLDER: &str = "POINTSMAN_OUT";

impl Gateway for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn version(&self) -> Option<Command> {
        let mut command = Command::new(program("nginx", PROGRAM));
        command.arg("-v");
        Some(command)
    }

    fn build(&self, root: &Path) -> Result<(), AnyError> {
        process::run(&mut Command::new(root.join("integrations/nginx/build"))).map(drop)
    }

    fn configure(&self, site: &Site, balance: Balance) -> Result<(), AnyError> {
        let balance = match balance {
            Balance::RoundRobin => String::new(),
            Balance::LeastConnections => "least_conn;".to_owned(),
            Balance::Pointsman(policy) => format!("pointsman policy={policy} budget=64m;"),
        };
        site.write(HOSTS, self.hosts.unwrap_or_default())?;
        let servers = site.each_engine(|_, engine| format!("        server {engine};"));
        let folder = std::env::var_os(FOLDER).unwrap_or_else(|| "target/integrations/nginx".into());
        let module = site.root.join(folder).join(MODULE);
        let text = include_str!("../../../nginx/tests/nginx.conf").to_owned();
        let text = self.edits.iter().fold(text, |text, (from, to)| text.replace(from, to));
        // Edits may name single engines.
        let text = (site.engines.iter().enumerate()).fold(text, |text, (number, engine)| {
            let port = engine.port().to_string();
            let fields = [
                (&*format!("engine{number}"), &*engine.to_string()),
                (&*format!("port{number}"), &*port),
            ];
            fill(&text, &fields)
        });
        let fields = [
            ("module", &*module.to_string_lossy()),
            ("dir", &*site.dir.to_string_lossy()),
            ("processes", &*self.processes.to_string()),
            ("listen", &*site.listen.to_string()),
            ("status", &*site.status.to_string()),
            ("balance", &*balance),
            ("servers", &*servers),
        ];
        site.write(FILE, &fill(&text, &fields))
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = match self.hosts {
            None => Command::new(program("nginx", PROGRAM)),
            // A mount that only it sees.
            Some(_) => {
                let mut command = Command::new("unshare");
                let mount = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
                command.args(["-m", "sh", "-c", mount]).arg(site.dir.join(HOSTS));
                command.arg(program("nginx", PROGRAM));
                command
            }
        };
        command.arg("-e").arg("stderr").arg("-c").arg(site.dir.join(FILE));
        command
    }

    fn reload(&self, _site: &Site, process: &Process) -> Result<(), AnyError> {
        process.signal(Signal::HUP)
    }

    fn check(&self, site: &Site) -> Command {
        let mut command = self.command(site);
        command.arg("-t");
        command
    }

    fn rows(&self) -> Vec<Row> {
        let of =
            |name, balance, gateway: &'static Nginx| Row { name, balance, gateway: Some(gateway) };
        let pointsman = Balance::Pointsman("cache_aware");
        vec![
            of("its own round robin", Balance::RoundRobin, &ONE),
            of("its own least connections", Balance::LeastConnections, &ONE),
            of("pointsman, one process", pointsman, &ONE),
            of("pointsman, two processes", pointsman, &PLAIN),
            of("pointsman, four processes", pointsman, &FOUR),
        ]
    }

    fn cases(&self) -> Vec<(&'static dyn Gateway, &'static Case)> {
        // A hosts file of its own is for root only.
        let can = |nginx: &Nginx| nginx.hosts.is_none() || rustix::process::geteuid().is_root();
        let mut cases: Vec<_> = cases::nginx::ALL.iter().filter(|(nginx, _)| can(nginx)).collect();
        if resolves() {
            cases.extend(cases::nginx::RESOLVING);
        }
        cases.into_iter().map(|(nginx, case)| (nginx as &dyn Gateway, case)).collect()
    }

    /// By `down`, and a reload. Returns when the new processes serve.
    fn take_out(&self, site: &Site, worker: usize, out: bool) -> Option<Result<(), AnyError>> {
        let server = site.engines[worker];
        let (is, becomes) = (format!("server {server};"), format!("server {server} down;"));
        let (is, becomes) = if out { (is, becomes) } else { (becomes, is) };
        Some(rewrite(site, &is, &becomes).and_then(|()| until_down(site, server, out)))
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let of = |correct, mistaken, named| Mistake { correct, mistaken, named, file: FILE };
        let directive = "pointsman policy=cache_aware budget=64m;";
        let named = "\"pointsman\" directive";
        vec![
            of(directive, "pointsman polcy=cache_aware;", named),
            of(directive, "pointsman policy=least;", named),
            of(
                directive,
                "pointsman 'policy={\"cache_aware\": {\"rule\": {\"least_work\": {\"replica\": 2}}}}';",
                named,
            ),
            of(directive, "pointsman policy=;", named),
            of(directive, "pointsman policy=random policy=random;", named),
            of(directive, "pointsman policy=random replicas=2;", named),
            of(directive, "pointsman replicas=0;", named),
            of(directive, "pointsman 'config={}'; pointsman;", named),
            of(directive, "pointsman budget=1;", named),
            of(directive, "pointsman budget=64q;", named),
            of(directive, "pointsman kv_capacity=many;", named),
            of(directive, "pointsman prompt=xml;", named),
            of(directive, "pointsman hash_key=0123;", named),
            of(directive, "least_conn; pointsman;", named),
            of(directive, "pointsman; least_conn;", named),
            of(directive, "keepalive 2; pointsman;", named),
            of(directive, "pointsman; server 127.0.0.1:1; server 127.0.0.1:1;", named),
            of("pointsman_status;", "pointsman_status on;", "\"pointsman_status\" directive"),
            of("location / {", "pointsman; location / {", "\"pointsman\" directive"),
        ]
    }

    fn status_url(&self, site: &Site) -> String {
        format!("http://127.0.0.1:{}/pointsman", site.status)
    }
}

/// Whether this nginx follows names in upstreams: since 1.27.3.
fn resolves() -> bool {
    let printed = PLAIN.version().and_then(|mut command| command.output().ok());
    let printed = printed.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    let version = printed.as_deref().and_then(|text| text.trim().rsplit('/').next());
    let numbers: Vec<u32> =
        version.unwrap_or_default().split('.').filter_map(|part| part.parse().ok()).collect();
    numbers >= vec![1, 27, 3]
}

/// Changes the configuration of a running nginx, which takes it up.
fn rewrite(site: &Site, is: &str, becomes: &str) -> Result<(), AnyError> {
    let text = std::fs::read_to_string(site.dir.join(FILE))?;
    site.write(FILE, &text.replace(is, becomes))?;
    let pid = std::fs::read_to_string(site.dir.join("nginx.pid"))?.trim().parse()?;
    let pid = Pid::from_raw(pid).ok_or("no process")?;
    Ok(kill_process(pid, Signal::HUP)?)
}

/// Waits until the status page says so time after time: while both serve, an old process may answer.
fn until_down(site: &Site, server: SocketAddr, expected: bool) -> Result<(), AnyError> {
    const IN_A_ROW: u32 = 10;
    let worker = format!("worker=\"{server}\"");
    let mut agreed = 0;
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(50));
        let text = get(site.status, "/pointsman")?;
        let mut lines = text.lines().filter(|line| line.starts_with("pointsman_worker_healthy{"));
        let healthy = lines.any(|line| line.contains(&worker) && line.ends_with(" 1"));
        agreed = if healthy != expected { agreed + 1 } else { 0 };
        if agreed == IN_A_ROW {
            return Ok(());
        }
    }
    Err(format!("nginx never says that {server} is down: {expected}").into())
}
