"""What is measured and how it is started: a table of recipes, each a function from a place to a command line.

Every gateway gets the same terms: one worker, loopback, no TLS, keep-alive on both sides without a cap on requests, no
buffering of streams, the stub as its only upstream. FastAnchor keeps what it is for switched on: key check, limits,
metrics and the access log (into a file). A URL is measured where it runs; its process is found by its port.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from bench import procs
from bench.rig import KEY, Rig, on_cores

READY_LIMIT = 30.0  # seconds from exec to the first 200
STOP_LIMIT = 10.0  # seconds from SIGTERM to the end
POLL = 0.001


class SubjectError(Exception):
    """A gateway is not installed or did not start; the text says which and why."""


@dataclass(frozen=True)
class Place:
    """Where a gateway shall run."""

    folder: Path
    port: int
    stub_port: int


@dataclass(frozen=True)
class Recipe:
    """How to start a gateway: `prepare` writes its files and returns its command line; `missing` says why it cannot."""

    name: str
    prepare: Callable[[Place], list[str]]
    missing: Callable[[], str | None]
    version: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """Something under load. `recipe` is None where it cannot be started afresh; `started_in` is seconds."""

    name: str
    port: int
    pid: int | None
    recipe: Recipe | None = None
    started_in: float = 0.0


def _nginx(place: Place) -> list[str]:
    config = place.folder / "nginx.conf"
    temporary = "".join(
        f"    {kind}_temp_path {place.folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""  # else the worker may not enter its own folder
    config.write_text(f"""{user}daemon off;
worker_processes 1;
pid {place.folder}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile {_open_files()};
events {{ worker_connections {_open_files()}; }}
http {{
    access_log off;
{temporary}    client_max_body_size 64m;
    client_body_buffer_size 1m;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    proxy_read_timeout 1h;
    upstream stub {{
        server 127.0.0.1:{place.stub_port};
        keepalive 10000;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        location / {{
            proxy_pass http://stub;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
""")
    return ["nginx", "-e", "stderr", "-p", str(place.folder), "-c", str(config)]


def _haproxy(place: Place) -> list[str]:
    config = place.folder / "haproxy.cfg"
    config.write_text(f"""global
    nbthread 1
    maxconn {_open_files() // 3}
defaults
    mode http
    maxconn {_open_files() // 3}
    http-reuse always
    option http-no-delay
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
frontend bench
    bind 127.0.0.1:{place.port} backlog 4096
    default_backend stub
backend stub
    server stub 127.0.0.1:{place.stub_port} pool-purge-delay 1h
""")
    return ["haproxy", "-db", "-f", str(config)]


def _fastanchor(place: Place) -> list[str]:
    config = place.folder / "config.toml"
    config.write_text(f"""[server]
auth = true
workers = 1
state_dir = "{place.folder}/state"

[server.limits]
requests_per_connection = 2_000_000_000
max_connections = 100_000
backlog = 4096

[[keys]]
name = "bench"
key = "{KEY}"
organization = "bench"
plan = "bench"

[plans.bench]
requests_per_minute = 1_000_000_000
tokens_per_minute = 1_000_000_000_000
concurrent_requests = 1_000_000

{"".join(_channel(provider, place.stub_port) for provider in ("anthropic", "gemini", "openai"))}""")
    return [
        sys.executable,
        "-m",
        "fastanchor",
        "serve",
        "--config",
        str(config),
        "--listen",
        f"127.0.0.1:{place.port}",
        "--workers",
        "1",
    ]


def _channel(provider: str, port: int) -> str:
    """The stub as a provider. Models whose names end in another's name go there, all others to `openai`."""
    path, pattern = ("/v1", "*") if provider == "openai" else ("", f"*-{provider}")
    return f"""
[[channels]]
name = "{provider}"
provider = "{provider}"
base_url = "http://127.0.0.1:{port}{path}"
keys = ["k"]
models = "*"
max_concurrency = 100_000

[[routes]]
model = "{pattern}"
channels = ["{provider}"]
"""


def _needs_program(program: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(program) else f"{program} is not installed"


def _needs_fastanchor() -> str | None:
    return None if find_spec("fastanchor.__main__") else "fastanchor cannot be started: it has no fastanchor.__main__"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("nginx", _nginx, _needs_program("nginx"), ("nginx", "-v")),
        Recipe("haproxy", _haproxy, _needs_program("haproxy"), ("haproxy", "-v")),
        Recipe("fastanchor", _fastanchor, _needs_fastanchor, (sys.executable, "-m", "fastanchor", "--version")),
    )
}


def direct(rig: Rig) -> Subject:
    """The stub itself, with nothing in between."""
    return Subject("direct", rig.stub_port, pid=None)


@contextmanager
def launch(recipe: Recipe, rig: Rig, *, name: str = "", pin: bool = True) -> Iterator[Subject]:
    """Starts a gateway on the subject's core, waits for its first 200 to a real request, and stops it at the end.

    Raises:
        SubjectError: it is not installed, ended, or did not answer within READY_LIMIT; with the end of its output.
    """
    if reason := recipe.missing():
        raise SubjectError(reason)
    with tempfile.TemporaryDirectory(prefix="fastanchor-bench-") as folder:
        place = Place(Path(folder), _free_port(), rig.stub_port)
        command = recipe.prepare(place)
        output = place.folder / "output"
        with output.open("wb") as log:
            begun = time.monotonic()
            with on_cores(rig.gateway_cores if pin else rig.all_cores):
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
                )
        try:
            _wait_for_answer(process, place.port, recipe.name, output)
            yield Subject(name or recipe.name, place.port, process.pid, recipe, time.monotonic() - begun)
        finally:
            _stop(process)


def at_url(url: str) -> Subject:
    """A gateway that somebody else runs on this machine, as `http://127.0.0.1:PORT`.

    Raises:
        SubjectError: the URL is not plain HTTP on loopback with a port, or nothing of ours listens there.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost") or not parts.port:
        raise SubjectError(f"a peer is one of {', '.join(RECIPES)}, or http://127.0.0.1:PORT, not {url!r}")
    pid = procs.listener_of(parts.port)
    if pid is None:
        raise SubjectError(f"no process that may be looked into listens at {url}")
    return Subject(f"{parts.hostname}:{parts.port}", parts.port, pid)


def version(recipe: Recipe) -> str:
    """The first line that the gateway says about its version; empty if it says none."""
    if not recipe.version or recipe.missing():
        return ""
    done = subprocess.run(recipe.version, capture_output=True, text=True, check=False)
    return next(iter((done.stdout + done.stderr).splitlines()), "") if done.returncode == 0 else ""


def _wait_for_answer(process: subprocess.Popen[bytes], port: int, name: str, output: Path) -> None:
    ends = time.monotonic() + READY_LIMIT
    while not _answers(port):
        status = process.poll()
        if status is not None or time.monotonic() > ends:
            what = f"ended with status {status}" if status is not None else f"gave no 200 within {READY_LIMIT:.0f} s"
            raise SubjectError(f"{name} {what}; its last output:\n{output.read_text(errors='replace')[-2000:]}")
        time.sleep(POLL)


def _answers(port: int) -> bool:
    body = b'{"model":"bench-n1-p0","messages":[{"role":"user","content":"stream-000000000"}]}'
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(head.encode() + body)
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # what it left behind in the session that we gave it
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _open_files() -> int:
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1_000_000)
