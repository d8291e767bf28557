//! nginx.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::{Balance, Gateway, Mistake, Site, fill};
use crate::http::AnyError;
use crate::process::{self, Process};

/// nginx with this many worker processes.
pub(crate) struct Nginx {
    pub(crate) processes: usize,
}

const FILE: &str = "nginx.conf";
const MODULE: &str = "target/integrations/nginx/ngx_http_pointsman_module.so";

impl Gateway for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
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
        let servers = site.each_engine(|_, engine| format!("        server {engine};"));
        let module = site.root.join(MODULE);
        let fields = [
            ("module", &*module.to_string_lossy()),
            ("dir", &*site.dir.to_string_lossy()),
            ("processes", &*self.processes.to_string()),
            ("listen", &*site.listen.to_string()),
            ("status", &*site.status.to_string()),
            ("balance", &*balance),
            ("servers", &*servers),
        ];
        site.write(FILE, &fill(include_str!("../../../nginx/tests/nginx.conf"), &fields))
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = Command::new("nginx");
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
