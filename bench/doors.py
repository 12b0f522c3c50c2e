"""A gateway behind each protocol: HTTP/1.1 and HTTP/2, in clear and over TLS, and h2load in front of it.

The files are the recipe's own, with another door: nginx gets `ssl` and `http2` on its one listener, FastAnchor a
certificate (it tells the protocols of one port apart by itself). h2load counts the answers that failed; it is as dear
as a gateway, so its own need says nothing here.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import procs
from bench.recipes import Place, Recipe
from bench.rig import KEY, Refused, Rig, on_cores
from bench.subjects import READY_LIMIT, Subject, SubjectError, free_port, stop

DONE = re.compile(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored")
BODY_BYTES = 1024
PATIENCE = 120.0  # seconds that h2load may take


@dataclass(frozen=True)
class Door:
    """`streams` requests are under way on each connection."""

    name: str
    tls: bool
    h2: bool

    @property
    def streams(self) -> int:
        return 8 if self.h2 else 1


DOORS = (
    Door("http/1.1", tls=False, h2=False),
    Door("http/1.1 over TLS", tls=True, h2=False),
    Door("http/2", tls=False, h2=True),
    Door("http/2 over TLS", tls=True, h2=True),
)


@dataclass(frozen=True)
class Weighed:
    """What one window of h2load cost the gateway."""

    requests: int
    gateway_ns: int


@contextmanager
def behind(door: Door, recipe: Recipe, rig: Rig) -> Iterator[Subject]:
    """The gateway, started afresh on its own core behind the door.

    Raises:
        SubjectError: it ended, or gave no good answer in time; with the end of its output.
    """
    with tempfile.TemporaryDirectory(prefix="fastanchor-door-") as name:
        folder = Path(name)
        place = Place(folder, free_port(), rig.stub_port)
        command = recipe.prepare(place)
        put_on(door, recipe, place)
        output = folder / "output"
        with output.open("wb") as log, on_cores(rig.gateway_cores):
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                       start_new_session=True)  # fmt: skip
        try:
            subject = Subject(recipe.name, place.port, process.pid, recipe)
            _await_answer(door, subject, process, rig, output)
            yield subject
        finally:
            stop(process)


def put_on(door: Door, recipe: Recipe, place: Place) -> None:
    """Change the recipe's files."""
    if door.tls:
        _certify(place.folder)
    if recipe.name == "nginx":
        words = f"{' ssl' if door.tls else ''}{' http2' if door.h2 else ''}"
        listen = f"listen 127.0.0.1:{place.port}"
        more = f"ssl_certificate {place.folder}/cert.pem; ssl_certificate_key {place.folder}/key.pem;\n" * door.tls
        file = place.folder / "nginx.conf"
        limits = "http2_max_concurrent_streams 256;\n" * door.h2
        file.write_text(file.read_text().replace(listen, f"{more}{limits}{listen}{words}"))
    elif door.tls:
        file = place.folder / "config.toml"
        table = f'\n[server.tls]\ncertificate = "{place.folder}/cert.pem"\nkey = "{place.folder}/key.pem"\n'
        file.write_text(file.read_text() + table)


def _certify(folder: Path) -> None:
    """A certificate that nobody has signed, on the curve that most have."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip


def weigh(
    door: Door, subject: Subject, rig: Rig, *, connections: int, requests: int, events: int = 0, pace_ms: int = 0
) -> Weighed:
    """So many requests, `door.streams` at a time on each connection; plain ones, or streams of so many events.

    Raises:
        Refused: one of them failed, or the gateway ended.
    """
    assert subject.pid is not None
    before = procs.tree_time(subject.pid)
    shown = _h2load(door, subject.port, rig, connections, requests, events, pace_ms)
    try:
        spent = procs.spent(before, procs.tree_time(subject.pid))
    except procs.ProcessGone as gone:
        raise Refused(str(gone)) from gone
    found = DONE.search(shown)
    if found is None or found.groups() != (str(requests), str(requests), "0", "0"):
        raise Refused(f"h2load over {door.name}: {found[0] if found else shown[-200:]}")
    return Weighed(requests, spent)


def _h2load(door: Door, port: int, rig: Rig, connections: int, requests: int, events: int, pace_ms: int) -> str:
    with tempfile.NamedTemporaryFile(prefix="fastanchor-body-") as body:
        body.write(_body(events, pace_ms))
        body.flush()
        command = [
            "h2load", "-n", str(requests), "-c", str(connections), "-m", str(door.streams), "-d", body.name,
            "-H", "content-type: application/json", "-H", f"authorization: Bearer {KEY}",
            *(() if door.h2 else ("--h1",)),
            f"{'https' if door.tls else 'http'}://127.0.0.1:{port}/v1/chat/completions",
        ]  # fmt: skip
        with on_cores(rig.rig_cores):
            ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return ran.stdout


def _body(events: int, pace_ms: int) -> bytes:
    stream = ',"stream":true' if events else ""
    start = f'{{"model":"bench-n{events or 1}-p{pace_ms}"{stream},"messages":[{{"role":"user","content":"'
    return (start + "stream-000000001 ").ljust(BODY_BYTES - 4, "x").encode() + b'"}]}'


def _await_answer(door: Door, subject: Subject, process: subprocess.Popen[bytes], rig: Rig, output: Path) -> None:
    ends = time.monotonic() + READY_LIMIT
    while True:
        try:
            weigh(door, subject, rig, connections=1, requests=1)
        except Refused:
            if process.poll() is not None or time.monotonic() > ends:
                said = output.read_text(errors="replace")[-2000:]
                raise SubjectError(f"{subject.name} does not answer over {door.name}:\n{said}") from None
            time.sleep(0.05)
        else:
            return
