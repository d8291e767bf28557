# Sourced by each finding: a folder of its own, removed at the end, and what runs in it.
set -euo pipefail
common=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d)
started=()
finish() {
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap finish EXIT

# Python packages, pinned, for `python`.
packages() {
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@"
}
python() { "$folder/venv/bin/python" "$@"; }

# As many free ports as asked for.
ports() {
    python3 -c "
import socket
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range($1)]
print(*(s.getsockname()[1] for s in sockets))"
}

# Engines that answer with their port, one on each port given.
engines() {
    python3 "$common/echo_engines.py" "$@" >"$folder/engines" &
    started+=($!)
    until grep -qs ready "$folder/engines"; do sleep .1; done
}

# The small random model of tiny_model.py, for llama.cpp's server as it is in xllamacpp.
llama_packages() {
    packages xllamacpp==2026.10.11549 gguf==0.19.0 numpy==2.4.6 pyyaml==6.0.4 tqdm==4.70.1 requests==2.34.2
    python "$common/tiny_model.py" "$folder/tiny.gguf"
}
