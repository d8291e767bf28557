"""One of the routers sglang_router, smg and vllm_router in front of one engine whose answers can be set."""
import contextlib
import http.client
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import time

CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Where is my parcel?"}]})


class Engine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status, chats = 200, 0

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        if status == 429:
            self.send_header("retry-after", "7")
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.answer(200, {"model_path": "m", "data": [{"id": "m"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if not self.path.endswith("/chat/completions"):
            return self.answer(404, {})
        Engine.chats += 1
        choice = {"index": 0, "message": {"role": "assistant", "content": "At the door."}, "finish_reason": "stop"}
        whole = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        self.answer(Engine.status, whole if Engine.status == 200 else {"error": {"message": "not now"}})

    def log_message(self, *_):
        pass


def chat(port):
    """Status of a chat, how often the engine was asked, and seconds."""
    start, Engine.chats = time.time(), 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/chat/completions", CHAT, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status, Engine.chats, time.time() - start


@contextlib.contextmanager
def router(module, folder, front, engine, metrics):
    """Runs it while the block lasts. The three ports are free ones."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", engine), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Engine.status = 200
    command = f"-m {module}.launch_router --worker-urls http://127.0.0.1:{engine} --host 127.0.0.1 --port {front}"
    command += f" --prometheus-host 127.0.0.1 --prometheus-port {metrics}"
    log = open(pathlib.Path(folder, module + ".log"), "w")
    process = subprocess.Popen([sys.executable, *command.split()], stdout=log, stderr=log)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                if chat(front)[0] == 200:
                    break
            time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        server.server_close()
