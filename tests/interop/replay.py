"""A server on loopback that gives prepared answers: the name of the model says which."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson


class Replay:
    """`add` prepares an answer and tells the model to ask for."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answers: list[tuple[int, bytes, bytes]] = []

    def add(self, body: bytes, content_type: bytes, status: int = 200) -> str:
        self.answers.append((status, body, content_type))
        return f"answer-{len(self.answers) - 1}"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    replay: Replay


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        asked = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        model = asked.get("model") or self.path.split("/models/")[1].split(":")[0]
        status, body, kind = self.server.replay.answers[int(model.rpartition("-")[2])]
        self.send_response(status)
        self.send_header("content-type", kind.decode())
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def replaying() -> Iterator[Replay]:
    server = Server(("127.0.0.1", 0), Handler)
    server.replay = Replay(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.replay
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
