//! Envoy, with all of its configuration in watched files, so that it takes up changes while it serves.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::{Value, json};

use super::{Balance, Gateway, Mistake, Site, sum_of};
use crate::http::AnyError;
use crate::process::{self, Process};

pub(super) struct Envoy;

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

    fn build(&self, root: &Path) -> Result<(), AnyError> {
        process::run(&mut Command::new(root.join("integrations/envoy/build"))).map(drop)
    }

    fn configure(&self, site: &Site, balance: Balance) -> Result<(), AnyError> {
        let file = |name: &str| json!({ "path_config_source": { "path": site.dir.join(name) } });
        let admin = json!({ "address": address("127.0.0.1", site.status) });
        let start = json!({
            "node": { "id": "pointsman", "cluster": "pointsman" },
            "admin": admin,
            "dynamic_resources": {
                "lds_config": file(LISTENERS),
                "cds_config": file(CLUSTERS),
            },
        });
        site.write(START, &start.to_string())?;
        let endpoints = endpoints(site, site.engines.len());
        let watched =
            json!({ "type": "EDS", "eds_cluster_config": { "eds_config": file(ENDPOINTS) } });
        publish(site, ENDPOINTS, "endpoint.v3.ClusterLoadAssignment", &endpoints)?;
        publish(site, CLUSTERS, "cluster.v3.Cluster", &cluster(balance, watched, 1))?;
        publish(site, LISTENERS, "listener.v3.Listener", &listener(site, balance, 0))?;
        let fixed = json!({ "type": "STATIC", "load_assignment": endpoints });
        let whole = json!({
            "admin": admin,
            "static_resources": {
                "listeners": [listener(site, balance, 0)],
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
        let balance = Balance::Pointsman("cache_aware");
        match turn % 3 {
            0 => resize(site, site.engines.len() - 1),
            1 => {
                resize(site, site.engines.len())?;
                let file = json!({ "path_config_source": { "path": site.dir.join(ENDPOINTS) } });
                let watched =
                    json!({ "type": "EDS", "eds_cluster_config": { "eds_config": file } });
                let cluster = cluster(balance, watched, 2 + turn);
                publish(site, CLUSTERS, "cluster.v3.Cluster", &cluster)
            }
            _ => publish(site, LISTENERS, "listener.v3.Listener", &listener(site, balance, turn)),
        }
    }

    fn status_url(&self, site: &Site) -> String {
        format!("http://127.0.0.1:{}/stats/prometheus?filter=pointsman", site.status)
    }

    fn in_flight(&self, status: &str) -> Option<u64> {
        sum_of(status, "envoy_dynamicmodulescustom_pointsman_in_flight")
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let mistake = |correct, mistaken, named| Mistake { correct, mistaken, named, file: WHOLE };
        vec![
            mistake(
                "\"policy\":\"cache_aware\"",
                "\"polcy\":\"cache_aware\"",
                "unknown field `polcy`",
            ),
            mistake("\"policy\":\"cache_aware\"", "\"policy\":\"cash_aware\"", "cash_aware"),
            mistake("\"max_workers\":64", "\"max_workers\":64000", "max_workers = 64000"),
            mistake(
                "\"response_headers\":true",
                "\"response_header\":true",
                "unknown field `response_header`",
            ),
            mistake("\"max_body_bytes\":8000000", "\"max_body_bytes\":0", "max_body_bytes = 0"),
            mistake(
                "\"filter_name\":\"pointsman\"",
                "\"filter_name\":\"pointman\"",
                "filter_name = \"pointman\"",
            ),
            mistake(
                "\"lb_policy_name\":\"pointsman\"",
                "\"lb_policy_name\":\"pt\"",
                "lb_policy_name = \"pt\"",
            ),
        ]
    }

    fn check(&self, site: &Site) -> Command {
        let mut command = envoy(site);
        command.args(["--mode", "validate", "-c"]).arg(site.dir.join(WHOLE));
        command
    }
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

/// Makes the first so many engines the members.
fn resize(site: &Site, workers: usize) -> Result<(), AnyError> {
    publish(site, ENDPOINTS, "endpoint.v3.ClusterLoadAssignment", &endpoints(site, workers))
}

/// The first so many engines.
fn endpoints(site: &Site, workers: usize) -> Value {
    let endpoints: Vec<_> = site.engines[..workers]
        .iter()
        .map(|engine| {
            let address = address(&engine.ip().to_string(), engine.port());
            json!({ "endpoint": { "address": address } })
        })
        .collect();
    json!({ "cluster_name": "engines", "endpoints": [{ "lb_endpoints": endpoints }] })
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
            cluster["load_balancing_policy"] = json!({ "policies": [{ "typed_extension_config": {
                "name": "envoy.load_balancing_policies.dynamic_modules",
                "typed_config": {
                    "@type": format!("{TYPE}.extensions.load_balancing_policies.dynamic_modules.v3.DynamicModulesLoadBalancerConfig"),
                    "dynamic_module_config": module(),
                    "lb_policy_name": "pointsman",
                    "lb_policy_config": document(settings),
                },
            }}]});
        }
    }
    for (key, value) in members.as_object().into_iter().flatten() {
        cluster[key] = value.clone();
    }
    cluster
}

fn module() -> Value {
    json!({ "name": "pointsman_envoy", "do_not_close": true })
}

fn document(settings: Value) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": settings })
}

/// The listener; `edition` only makes one definition differ from the next.
fn listener(site: &Site, balance: Balance, edition: usize) -> Value {
    let mut route = json!({
        "match": { "prefix": "/" },
        "route": {
            "cluster": "engines",
            "timeout": "0s",
            "retry_policy": { "retry_on": "connect-failure,refused-stream,reset", "num_retries": 3 },
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
                "filter_config": document(settings),
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
