"""The `fastanchor` command as a user runs it: a process of its own, real signals, real sockets."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS = 60.0
SECRETS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "FASTANCHOR_CONFIG")


@dataclass
class Binary:
    """A running instance. `log` is what it wrote so far, both streams together."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path
    trust: ssl.SSLContext | None = None
    """Whom to believe, where the instance speaks TLS."""

    @property
    def url(self) -> str:
        return f"{'http' if self.trust is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def get(self, path: str, key: str = "") -> tuple[int, bytes]:
        """GET with the standard library."""
        request = urllib.request.Request(self.url + path)
        if key:
            request.add_header("authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=30, context=self.trust) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def fastanchor(
    tmp_path: Path, config: str = "", *arguments: str, trust: ssl.SSLContext | None = None, **environ: str
) -> Iterator[Binary]:
    """Run `fastanchor serve` with this configuration text until the block is left."""
    port = free_port()
    log_file = tmp_path / "log"
    file = tmp_path / "fastanchor.toml"
    file.write_text(config)
    clean = {name: value for name, value in os.environ.items() if name not in SECRETS}
    command = [sys.executable, "-m", "fastanchor", "serve", "--config", str(file), "--listen", f"127.0.0.1:{port}"]
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*command, *arguments], cwd=tmp_path, stdout=log, stderr=log, env={**clean, **environ}
        )
    binary = Binary(process, port, log_file, trust)
    try:
        _await_ready(binary)
        yield binary
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(binary: Binary) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if binary.process.poll() is not None:
            break
        try:
            if binary.get("/readyz")[0] == 200:
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"fastanchor did not become ready:\n{binary.log}")
