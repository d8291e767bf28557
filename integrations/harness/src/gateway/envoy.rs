//! Envoy, with all of its configuration in watched files, so that it takes up changes while it serves.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Balance, Gateway, Mistake, Site, get, sum_of};
use crate::cases::{self, Case};
use crate::http::AnyError;
use crate::process::{self, Process};

pub(super) struct Envoy;

/// What all gateways are tried with.
const POINTSMAN: Balance = Balance::Pointsman("cache_aware");
/// A request that no engine has begun to answer may go to another one.
const RETRY_ON: &str = "connect-failure,refused-stream,reset";
const TYPE: &str = "type.googleapis.com/envoy";
/// What Envoy is started with.
const START: &str = "envoy.json";
/// The same as one document without watched files, to be checked.
const WHOLE: &str = "whole.json";
const LISTENERS: &str = "listeners.json";
const CLUSTERS: &str = "clusters.json";
const ENDPOINTS: &str = "endpoints.json";

impl Gateway for Envoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn version(&self) -> Option<Command> {
        let mut command = Command::new(std::env::var_os("ENVOY").unwrap_or_else(|| "envoy".into()));
        command.arg("--version");
        Some(command)
    }

    fn build(&self, root: &Path) -> Result<(), AnyError> {
        process::run(&mut Command::new(root.join("integrations/envoy/build"))).map(drop)
    }

    fn configure(&self, site: &Site, balance: Balance) -> Result<(), AnyError> {
        let admin = json!({ "address": address("127.0.0.1", site.status) });
        let start = json!({
            "node": { "id": "pointsman", "cluster": "pointsman" },
            "admin": admin,
            "dynamic_resources": {
                "lds_config": file(site, LISTENERS),
                "cds_config": file(site, CLUSTERS),
            },
        });
        site.write(START, &start.to_string())?;
        let endpoints = endpoints(&members(site, site.engines.len()));
        publish(site, ENDPOINTS, "endpoint.v3.ClusterLoadAssignment", &endpoints)?;
        publish(site, CLUSTERS, "cluster.v3.Cluster", &cluster(balance, watched(site), 1))?;
        publish(site, LISTENERS, "listener.v3.Listener", &listener(site, balance, 0, RETRY_ON))?;
        let fixed = json!({ "type": "STATIC", "load_assignment": endpoints });
        let whole = json!({
            "admin": admin,
            "static_resources": {
                "listeners": [listener(site, balance, 0, RETRY_ON)],
                "clusters": [cluster(balance, fixed, 1)],
            },
        });
        site.write(WHOLE, &whole.to_string())
    }

    fn command(&self, site: &Site) -> Command {
        let mut command = envoy(site);
        command.arg("-c").arg(site.dir.join(START)).args(["--concurrency", "2"]);
        command.args(["--disable-hot-restart", "--log-level", "warning"]);
        command
    }

    /// Three kinds of change in turn: of the members, of the cluster, of the listener.
    fn reload(&self, site: &Site, _process: &Process) -> Result<(), AnyError> {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let turn = TURN.fetch_add(1, Relaxed);
        match turn % 3 {
            0 => resize(site, site.engines.len() - 1),
            1 => {
                resize(site, site.engines.len())?;
                let cluster = cluster(POINTSMAN, watched(site), 2 + turn);
                publish(site, CLUSTERS, "cluster.v3.Cluster", &cluster)
            }
            _ => publish(
                site,
                LISTENERS,
                "listener.v3.Listener",
                &listener(site, POINTSMAN, turn, RETRY_ON),
            ),
        }
    }

    fn status_url(&self, site: &Site) -> String {
        format!("http://127.0.0.1:{}/stats/prometheus?filter=pointsman", site.status)
    }

    /// It is Envoy's.
    fn open_metrics(&self) -> bool {
        false
    }

    fn reported_cached(&self, status: &str) -> Option<u64> {
        Some(counter(status, "reported_cached_tokens"))
    }

    fn in_flight(&self, status: &str) -> Option<u64> {
        sum_of(status, "envoy_dynamicmodulescustom_pointsman_in_flight")
    }

    fn blamed(&self, status: &str) -> Option<u64> {
        Some(counter(status, "outcome_worker_error"))
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let mistake = |correct, mistaken, named| Mistake { correct, mistaken, named, file: WHOLE };
        vec![
            mistake(r#""policy":"cache_aware""#, r#""polcy":"random""#, "unknown field `polcy`"),
            mistake(r#""policy":"cache_aware""#, r#""policy":"cash_aware""#, "cash_aware"),
            mistake(r#""max_workers":64"#, r#""max_workers":64000"#, "max_workers = 64000"),
            mistake(r#""response_headers":"#, r#""response_header":"#, "`response_header`"),
            mistake(r#""max_body_bytes":8000000"#, r#""max_body_bytes":0"#, "max_body_bytes = 0"),
            mistake(r#""filter_name":"pointsman""#, r#""filter_name":"p""#, "filter_name = \"p\""),
            mistake(r#""lb_policy_name":"pointsman""#, r#""lb_policy_name":"p""#, "lb_policy_name"),
        ]
    }

    fn cases(&self) -> Vec<(&'static dyn Gateway, &'static Case)> {
        cases::envoy::ALL.iter().map(|case| (&Envoy as &dyn Gateway, case)).collect()
    }

    /// By what the endpoint says of its health. Returns when Envoy has taken it up.
    fn take_out(&self, site: &Site, worker: usize, out: bool) -> Option<Result<(), AnyError>> {
        let mut endpoints = endpoints(&members(site, site.engines.len()));
        let status = if out { "DRAINING" } else { "UNKNOWN" };
        endpoints["endpoints"][0]["lb_endpoints"][worker]["health_status"] = json!(status);
        let published = publish(site, ENDPOINTS, "endpoint.v3.ClusterLoadAssignment", &endpoints);
        Some(published.and_then(|()| until_draining(site, worker, out)))
    }

    fn check(&self, site: &Site) -> Command {
        check(site, &site.dir.join(WHOLE))
    }
}

/// Checks a configuration.
pub(crate) fn validate(site: &Site, file: &Path) -> Result<(), AnyError> {
    process::run(&mut check(site, file)).map(drop)
}

fn check(site: &Site, file: &Path) -> Command {
    let mut command = envoy(site);
    command.args(["--mode", "validate", "-c"]).arg(file);
    command
}

/// The binary that `ENVOY` names, or the one in the path; it finds the module by this variable.
fn envoy(site: &Site) -> Command {
    let mut command = Command::new(std::env::var_os("ENVOY").unwrap_or_else(|| "envoy".into()));
    let module = site.root.join("target/integrations/envoy");
    command.env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", module);
    command
}

/// Replaces a watched file by another one that holds this resource.
fn publish(site: &Site, name: &str, kind: &str, resource: &Value) -> Result<(), AnyError> {
    let mut resource = resource.clone();
    resource["@type"] = json!(format!("{TYPE}.config.{kind}"));
    let fresh = format!("{name}.new");
    site.write(&fresh, &json!({ "resources": [resource] }).to_string())?;
    Ok(std::fs::rename(site.dir.join(fresh), site.dir.join(name))?)
}

fn address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

/// Another configuration than the one for all gateways.
pub(crate) struct Variant {
    /// The members, with the role in their metadata; empty for none.
    pub(crate) members: Vec<(SocketAddr, &'static str)>,
    /// The load-balancing policy's configuration.
    pub(crate) settings: Value,
    /// What the route retries on.
    pub(crate) retry_on: &'static str,
}

/// Makes a running Envoy take up this configuration.
pub(crate) fn vary(site: &Site, variant: &Variant) -> Result<(), AnyError> {
    let endpoints = endpoints(&variant.members);
    publish(site, ENDPOINTS, "endpoint.v3.ClusterLoadAssignment", &endpoints)?;
    let mut cluster = cluster(POINTSMAN, watched(site), 1);
    cluster["load_balancing_policy"] = policy(&variant.settings);
    publish(site, CLUSTERS, "cluster.v3.Cluster", &cluster)?;
    let listener = listener(site, POINTSMAN, 1, variant.retry_on);
    publish(site, LISTENERS, "listener.v3.Listener", &listener)
}

/// One of the module's counters.
pub(crate) fn counter(status: &str, name: &str) -> u64 {
    sum_of(status, &format!("envoy_dynamicmodulescustom_pointsman_{name}")).unwrap_or(0)
}

/// Waits until Envoy's list of hosts says so.
fn until_draining(site: &Site, worker: usize, expected: bool) -> Result<(), AnyError> {
    let mark = format!("engines::{}::health_flags::", site.engines[worker]);
    for _ in 0..200 {
        // The threads that serve follow the one that is asked.
        std::thread::sleep(Duration::from_millis(50));
        let text = get(site.status, "/clusters")?;
        let flags = text.lines().find_map(|line| line.strip_prefix(&mark));
        if flags.is_some_and(|flags| flags.contains("/eds_status_draining") == expected) {
            return Ok(());
        }
    }
    Err(format!("Envoy never says that worker {worker} is draining: {expected}").into())
}

/// Makes the first so many engines the members.
fn resize(site: &Site, workers: usize) -> Result<(), AnyError> {
    let endpoints = endpoints(&members(site, workers));
    publish(site, ENDPOINTS, "endpoint.v3.ClusterLoadAssignment", &endpoints)
}

/// The first so many engines.
fn members(site: &Site, workers: usize) -> Vec<(SocketAddr, &'static str)> {
    site.engines[..workers].iter().map(|&engine| (engine, "")).collect()
}

fn endpoints(members: &[(SocketAddr, &str)]) -> Value {
    let endpoint = |&(member, role): &(SocketAddr, &str)| {
        let address = address(&member.ip().to_string(), member.port());
        let role = (!role.is_empty()).then(|| json!({ "role": role })).unwrap_or(json!({}));
        json!({
            "endpoint": { "address": address },
            "metadata": { "filter_metadata": { "pointsman": role } },
        })
    };
    let endpoints: Vec<_> = members.iter().map(endpoint).collect();
    json!({ "cluster_name": "engines", "endpoints": [{ "lb_endpoints": endpoints }] })
}

/// A file of the site's, as Envoy is told to watch it.
fn file(site: &Site, name: &str) -> Value {
    json!({ "path_config_source": { "path": site.dir.join(name) } })
}

/// Members by the watched file.
fn watched(site: &Site) -> Value {
    json!({ "type": "EDS", "eds_cluster_config": { "eds_config": file(site, ENDPOINTS) } })
}

/// The cluster; `connect_timeout` only makes one definition differ from the next.
fn cluster(balance: Balance, members: Value, connect_timeout: usize) -> Value {
    let mut cluster = json!({
        "name": "engines",
        "connect_timeout": format!("{connect_timeout}s"),
        "health_checks": [{
            "timeout": "0.5s",
            "interval": "0.25s",
            "no_traffic_interval": "0.25s",
            "unhealthy_threshold": 2,
            "healthy_threshold": 1,
            "http_health_check": { "path": "/health" },
        }],
        "circuit_breakers": { "thresholds": [{ "max_requests": 4096, "max_pending_requests": 4096, "max_connections": 4096, "max_retries": 64 }] },
    });
    match balance {
        Balance::RoundRobin => cluster["lb_policy"] = json!("ROUND_ROBIN"),
        Balance::LeastConnections => cluster["lb_policy"] = json!("LEAST_REQUEST"),
        Balance::Pointsman(policy) => {
            let settings = json!({ "router": { "policy": policy, "max_workers": 64 } });
            cluster["load_balancing_policy"] = self::policy(&settings);
        }
    }
    for (key, value) in members.as_object().into_iter().flatten() {
        cluster[key] = value.clone();
    }
    cluster
}

fn policy(settings: &Value) -> Value {
    json!({ "policies": [{ "typed_extension_config": {
        "name": "envoy.load_balancing_policies.dynamic_modules",
        "typed_config": {
            "@type": format!("{TYPE}.extensions.load_balancing_policies.dynamic_modules.v3.DynamicModulesLoadBalancerConfig"),
            "dynamic_module_config": module(),
            "lb_policy_name": "pointsman",
            "lb_policy_config": document(settings),
        },
    }}]})
}

fn module() -> Value {
    json!({ "name": "pointsman_envoy", "do_not_close": true })
}

fn document(settings: &Value) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": settings })
}

/// The listener; `edition` only makes one definition differ from the next.
fn listener(site: &Site, balance: Balance, edition: usize, retry_on: &str) -> Value {
    let mut route = json!({
        "match": { "prefix": "/" },
        "route": {
            "cluster": "engines",
            "timeout": "0s",
            "retry_policy": { "retry_on": retry_on, "num_retries": 3 },
            "hash_policy": [{ "filter_state": { "key": "envoy.hashable_string" } }],
        },
    });
    let mut filters = vec![json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": format!("{TYPE}.extensions.filters.http.router.v3.Router") },
    })];
    if let Balance::Pointsman(_) = balance {
        let settings = json!({ "response_headers": true, "max_body_bytes": 8_000_000 });
        filters.insert(0, json!({
            "name": "pointsman",
            "typed_config": {
                "@type": format!("{TYPE}.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"),
                "dynamic_module_config": module(),
                "filter_name": "pointsman",
                "filter_config": document(&settings),
            },
        }));
    } else {
        let header = json!({ "key": "x-pointsman-worker", "value": "%UPSTREAM_REMOTE_ADDRESS%" });
        route["response_headers_to_add"] = json!([{ "header": header }]);
    }
    let manager = json!({
        "@type": format!("{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "llm",
        "request_headers_timeout": format!("{}s", 60 + edition),
        "route_config": { "virtual_hosts": [{ "name": "llm", "domains": ["*"], "routes": [route] }] },
        "http_filters": filters,
    });
    json!({
        "name": "llm",
        "address": address("127.0.0.1", site.listen),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }]}],
    })
}
