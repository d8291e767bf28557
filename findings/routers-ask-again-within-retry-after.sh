#!/usr/bin/env bash
# Packages: sglang-router 0.3.2, smg 1.13.0, vllm-router 0.1.17
#
# Guess: an engine that answers 429 with `retry-after: 7` is left alone for these seconds: the router asks another one or hands
#   429 on. A chat that an engine answered with 500 is not sent again, since part of it may have been generated.
# Seen: all three ask the busy engine, the only one there is, five times within a second, and hand on 429 then. After 500,
#   sglang-router and vllm-router generate the chat five times too; smg asks once. So a burst that an engine sheds comes back
#   fivefold while it is still busy.
# Output (requests that the engine saw for one chat of the client):
#   sglang_router: 5 after 429, 5 after 500
#   smg:           5 after 429, 1 after 500
#   vllm_router:   5 after 429, 5 after 500
source "$(dirname "$0")/common/setup.bash"
packages --no-deps sglang-router==0.3.2 smg==1.13.0 vllm-router==0.1.17
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check setproctitle==1.3.8 aiohttp==3.14.5 requests==2.34.2 \
    fastapi==0.165.0 uvicorn==0.54.0 orjson==3.13.0
cat >"$folder/run.py" <<'PY'
import sys
from router_farm import Engine, chat, router

folder, *ports = sys.argv[1:]
for place, (module, repeats) in enumerate({"sglang_router": 5, "smg": 1, "vllm_router": 5}.items()):
    with router(module, folder, *map(int, ports[3 * place : 3 * place + 3])):
        Engine.status = 429
        busy = chat(int(ports[3 * place]))
        Engine.status = 500
        failed = chat(int(ports[3 * place]))
    print(f"{module + ':':14} {busy[1]} after 429, {failed[1]} after 500", flush=True)
    assert busy[:2] == (429, 5) and busy[2] < 6 and failed[:2] == (500, repeats)
PY
# shellcheck disable=SC2046
PYTHONPATH=$common python "$folder/run.py" "$folder" $(ports 9)
