#!/usr/bin/env bash
# Package: sglang-router 0.3.2
#
# Guess: the circuit breaker opens after 10 failures (cb-failure-threshold), that is after 10 chats that failed; a 429 is none,
#   since the engine is well and says that it is full.
# Seen: each of the five tries of one chat counts, and 429 counts. Two chats that find the engine busy close it for a minute,
#   in which every chat gets 503 and the engine, free again, sees none. A short burst becomes an outage of a minute; with more
#   engines it empties one after the other, each time with its prefixes.
# Output:
#   two chats while the engine is busy: 429 429
#   a third when it is free again: 503, of which the engine saw 0
#   first 200 after 60 s
source "$(dirname "$0")/common/setup.bash"
packages --no-deps sglang-router==0.3.2
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check setproctitle==1.3.8 aiohttp==3.14.5 requests==2.34.2 \
    fastapi==0.165.0 uvicorn==0.54.0 orjson==3.13.0
cat >"$folder/run.py" <<'PY'
import sys
import time
from router_farm import Engine, chat, router

folder, *ports = sys.argv[1:]
front = int(ports[0])
with router("sglang_router", folder, *map(int, ports)):
    Engine.status = 429
    busy = [chat(front)[0] for _ in range(2)]
    print("two chats while the engine is busy:", *busy)
    Engine.status, free = 200, time.time()
    third = chat(front)
    print(f"a third when it is free again: {third[0]}, of which the engine saw {third[1]}", flush=True)
    while (status := chat(front)[0]) != 200 and time.time() < free + 120:
        time.sleep(1)
    waited = time.time() - free
    print(f"first {status} after {waited:.0f} s")
assert busy == [429, 429] and third[:2] == (503, 0) and waited > 20
PY
# shellcheck disable=SC2046
PYTHONPATH=$common python "$folder/run.py" "$folder" $(ports 3)
