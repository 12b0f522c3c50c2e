"""What is measured: gateways that are started here by their recipe, the stub itself, or whatever serves at a URL.

A URL is measured where it runs; its process is found by its port.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import procs
from bench.recipes import RECIPES, USUAL, Place, Recipe, Setup
from bench.rig import KEY, Rig, on_cores

READY_LIMIT = 30.0  # seconds from exec to the first 200
STOP_LIMIT = 10.0  # seconds from SIGTERM to the end
POLL = 0.001


class SubjectError(Exception):
    """A gateway is not installed or did not start; the text says which and why."""


@dataclass(frozen=True)
class Subject:
    """Something under load. `recipe` is None where it cannot be started afresh; `started_in` is seconds."""

    name: str
    port: int
    pid: int | None
    recipe: Recipe | None = None
    setup: Setup = USUAL
    started_in: float = 0.0


def direct(rig: Rig) -> Subject:
    """The stub itself, with nothing in between."""
    return Subject("direct", rig.stub_port, pid=None)


@contextmanager
def launch(
    recipe: Recipe, rig: Rig, *, name: str = "", setup: Setup = USUAL, pin: bool = True
) -> Iterator[Subject]:
    """Starts a gateway, waits for its first 200 to a real request, and stops it at the end.

    It has the subject's core, or, without `pin`, all.

    Raises:
        SubjectError: it is not installed, ended, or did not answer within READY_LIMIT; with the end of its output.
    """
    if reason := recipe.missing():
        raise SubjectError(reason)
    with tempfile.TemporaryDirectory(prefix="fastanchor-bench-") as folder:
        place = Place(Path(folder), free_port(), rig.stub_port, setup)
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
            yield Subject(name or recipe.name, place.port, process.pid, recipe, setup, time.monotonic() - begun)
        finally:
            stop(process)


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


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a gateway that was started in a session of its own, with all that it has started."""
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


def free_port() -> int:
    """A port of the loopback address that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
