#!/usr/bin/env bash
# Package: nginx 1.22.1-9+deb12u11 (Debian)
#
# Guess: an engine that closes an idle connection just as a request arrives on it (uvicorn does so after 5 s) has failed
#   nothing. With `keepalive` nginx opens a new connection to it and sends the request again, as clients with a pool do.
# Seen: two things. A GET goes to the other engine and ends well, but a POST that was written to the stale connection is not
#   sent again: the client gets 502. And the stale connection counts as a failure of the engine: with the usual
#   max_fails=1 one of them takes it out for 10 s, GET or POST, though it would answer every new connection. The prefixes that it
#   holds are computed on the other engine meanwhile.
# Output (two engines; engine A closes its kept connection at the next request, once):
#   GET:  statuses 200 200 200 200 then served by A 0 of 10, and 11 s later 2 of 6
#   POST: statuses 502 200 200 200 then served by A 0 of 10, and 11 s later 2 of 6
source "$(dirname "$0")/common/setup.bash"
(cd "$folder" && apt-get download -qq nginx=1.22.1-9+deb12u11 && dpkg-deb --extract nginx_*.deb .) 2>"$folder/log" ||
    { echo "no such package in Debian's lists here: apt-get update, Debian 12"; tail -n 3 "$folder/log"; exit 1; }
cat >"$folder/run.py" <<'PY'
import asyncio
import http.client
import pathlib
import subprocess
import sys
import threading
import time

folder, (front, first, second) = sys.argv[1], map(int, sys.argv[2:])
stale = threading.Event()


async def serve(reader, writer):
    port = writer.get_extra_info("sockname")[1]
    requests = 0
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if requests and port == first and stale.is_set():
                break
            requests += 1
            lengths = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(sum(lengths))
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(str(port))}\r\n\r\n{port}".encode())
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def engines():
    servers = [await asyncio.start_server(serve, "127.0.0.1", port) for port in (first, second)]
    await asyncio.gather(*(server.serve_forever() for server in servers))


def request(method):
    connection = http.client.HTTPConnection("127.0.0.1", front)
    connection.request(method, "/", body="{}" if method == "POST" else None)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def served(method, requests):
    return sum(request(method) == (200, str(first)) for _ in range(requests))


threading.Thread(target=lambda: asyncio.run(engines()), daemon=True).start()
temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
pathlib.Path(folder, "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{}}
http {{
    access_log off; {temporary}
    upstream engines {{ server 127.0.0.1:{first}; server 127.0.0.1:{second}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{front};
        location / {{ proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}""")
nginx = subprocess.Popen([folder + "/usr/sbin/nginx", "-c", folder + "/nginx.conf", "-e", folder + "/errors"])
try:
    time.sleep(2)
    seen = {}
    for method in ("GET", "POST"):
        assert served(method, 4) == 2  # both have a kept connection now
        stale.set()
        statuses = [request(method)[0] for _ in range(4)]
        stale.clear()
        out = served(method, 10)
        time.sleep(11)
        back = served(method, 6)
        seen[method] = statuses, out
        print(f"{method + ':':5} statuses", *statuses, f"then served by A {out} of 10, and 11 s later {back} of 6", flush=True)
        assert back > 0
finally:
    nginx.terminate()
    nginx.wait()
assert seen["GET"] == ([200] * 4, 0)
assert sorted(seen["POST"][0]) == [200, 200, 200, 502] and seen["POST"][1] == 0
PY
# shellcheck disable=SC2046
python3 "$folder/run.py" "$folder" $(ports 3)
