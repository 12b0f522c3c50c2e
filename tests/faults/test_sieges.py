"""Attacks that go on and on, by a process of their own, beside a hundred good streams and other good requests.

Every good stream comes whole, every other request is answered, no worker dies, and the memory comes back. Another
instance has the same good clients at the same time and is left in peace: what the machine is at besides meets both
alike. How long the clients of either wait is printed, and held to a bound only with `--slow`, where each attack lasts a
minute: two seconds say nothing of a percentile.
"""

from __future__ import annotations

import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import orjson
import pytest
import trio
import trustme

from fastanchor.lab.judge import text_of
from tests.faults.test_attacks import memory, unchunked
from tests.kit import attackers
from tests.kit.attackers import CHAT, KEY
from tests.kit.binary import Binary, fastanchor, free_port
from tests.kit.fire import children, listens, until

PACE = 0.05
STREAMS = 100
REQUESTS_PER_SECOND = 50
SPARE_BYTES = 64 * 1024 * 1024
"""What a worker may keep of an attack, beside a tenth of what it had: CPython gives an arena of small objects back only
when nothing is left in it, so thousands of requests at one time leave some. A second attack finds that room."""
LOG_LINES_PER_SECOND = 100
SHORT = ("rapid_resets", "large_bodies")
"""For every run of the suite; the others stand in `test_attacks`, or are much like these."""
CONFIG = """
[server]
auth = true
access_log = "off"
{tls}
[[keys]]
name = "dev"
key = "sk-test"

[[channels]]
name = "calm"
provider = "demo"
models = ["calm"]
max_concurrency = 10000
headers = {{ x-demo-pace = "p50, ttft5", x-demo-fault = "n{tokens}" }}

[[channels]]
name = "flood"
provider = "demo"
base_url = "{flood}"
models = ["flood"]
max_concurrency = 10000
headers = {{ x-demo-pace = "p0, ttft0", x-demo-fault = "n20000" }}
"""


@pytest.fixture(scope="module")
def flood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a provider of its own for what attackers ask for: what it is at keeps no good stream waiting."""
    port = free_port()
    command = [sys.executable, "-m", "fastanchor", "demo", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as provider:
        try:
            until(lambda: listens(port), "the provider does not listen")
            yield f"http://127.0.0.1:{port}"
        finally:
            provider.kill()


@dataclass
class Good:
    """What good clients got: bodies of streams, times between their events, other answers and their times."""

    bodies: list[bytes] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    statuses: list[bytes] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def gap(self) -> float:
        """The 99th percentile, in seconds."""
        return percentile(self.gaps)


def percentile(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


@dataclass
class Besieged:
    binary: Binary
    door: str
    """The unix socket through which good clients come where the port speaks TLS; "": the port."""

    attacked: int
    """The port that the attack goes to."""

    async def enter(self) -> trio.SocketStream:
        if self.door:
            return await trio.open_unix_socket(self.door)
        return await trio.open_tcp_stream("127.0.0.1", self.binary.port)

    @property
    def memory(self) -> int:
        return memory(self.binary)


@pytest.fixture(params=[2, pytest.param(60, marks=pytest.mark.slow)], ids=lambda seconds: f"{seconds}s")
def seconds(request: pytest.FixtureRequest) -> int:
    """How long the attack goes on."""
    return int(request.param)


@pytest.fixture
def besieged(
    attack: Callable[[int], object], seconds: int, flood: str, tmp_path: Path
) -> Iterator[Besieged]:
    if seconds < 60 and attack.__name__ not in SHORT:
        pytest.skip("needs a minute")
    config = partial(CONFIG.format, tokens=int(seconds / PACE), flood=flood)
    if attack.__name__ != "half_handshakes":
        outer = free_port()
        listen = ("--listen", f"{attackers.own_address()}:{outer}") if attack.__name__ == "connect_only" else ()
        with fastanchor(tmp_path, config(tls=""), *listen) as binary:
            yield Besieged(binary, "", outer if listen else binary.port)
        return
    door = f"{tmp_path}/socket"
    tls, trust = certified(tmp_path)
    with fastanchor(tmp_path, config(tls=tls), "--listen", f"unix:{door}", trust=trust) as binary:
        yield Besieged(binary, door, binary.port)


def certified(directory: Path) -> tuple[str, ssl.SSLContext]:
    """A setting with a new certificate, and whom to trust for it."""
    authority = trustme.CA()
    pair = authority.issue_cert("127.0.0.1")
    pair.private_key_pem.write_to_path(directory / "key.pem")
    pair.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return f'tls = {{ certificate = "{directory}/cert.pem", key = "{directory}/key.pem" }}\n', trust


@pytest.fixture
def peaceful(
    seconds: int, besieged: Besieged, flood: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Besieged]:
    config = CONFIG.format(tokens=int(seconds / PACE), flood=flood, tls="")
    with fastanchor(tmp_path_factory.mktemp("peace"), config) as binary:
        yield Besieged(binary, "", binary.port)


async def stream(besieged: Besieged, good: Good) -> None:
    body = orjson.dumps({"model": "calm", "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
    async with await besieged.enter() as client:
        await client.send_all(CHAT + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        got = [await client.receive_some(65536)]
        before = time.perf_counter()
        async for data in client:
            now = time.perf_counter()
            good.gaps.append(now - before)
            before = now
            got.append(data)
    good.bodies.append(unchunked(b"".join(map(bytes, got))))


async def ask(besieged: Besieged, good: Good) -> None:
    began = time.perf_counter()
    async with await besieged.enter() as client:
        await client.send_all(b"GET /v1/models HTTP/1.1\r\n" + KEY + b"Connection: close\r\n\r\n")
        answer = b""
        async for data in client:
            answer += data
    good.statuses.append(answer[:15])
    good.waits.append(time.perf_counter() - began)


async def good_ones(*instances: Besieged) -> list[Good]:
    """What they got of each."""
    found = [Good() for _ in instances]
    async with trio.open_nursery() as nursery:
        for one, good in zip(instances, found, strict=True):
            nursery.start_soon(served, one, good)
    return found


async def served(besieged: Besieged, good: Good) -> None:
    """Streams, and other requests for as long as these last."""
    async with trio.open_nursery() as requests:
        async with trio.open_nursery() as streams:
            for _ in range(STREAMS):
                streams.start_soon(stream, besieged, good)
            while len(streams.child_tasks) > 0:
                requests.start_soon(ask, besieged, good)
                await trio.sleep(1 / REQUESTS_PER_SECOND)


def lines(binary: Binary) -> int:
    return binary.log.count("\n")


@pytest.mark.parametrize("attack", attackers.ATTACKS, ids=lambda one: one.__name__)
def test_good_ones_are_served_under(
    attack: Callable[[int], object],
    besieged: Besieged,
    peaceful: Besieged,
    seconds: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    binary = besieged.binary
    workers, before, logged = children(binary, "fa worker"), besieged.memory, lines(binary)
    command = [sys.executable, "-m", "tests.kit.attackers", attack.__name__, str(besieged.attacked), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attacker:
        good, others = trio.run(good_ones, besieged, peaceful)
        peak = besieged.memory
        came_to, _ = attacker.communicate(timeout=60)
    assert attacker.returncode == 0
    until(lambda: besieged.memory <= before * 1.1 + SPARE_BYTES, "memory does not come back", 30)
    with capfd.disabled():
        print(
            f"\n{attack.__name__}: {came_to.strip()}; p99 between events {good.gap * 1e3:.0f} ms,"
            f" in peace {others.gap * 1e3:.0f} ms; p99 of requests {percentile(good.waits) * 1e3:.0f} ms,"
            f" in peace {percentile(others.waits) * 1e3:.0f} ms; MiB {before >> 20}, at the end {peak >> 20},"
            f" then {besieged.memory >> 20}; {lines(binary) - logged} lines logged;"
            f" {len(good.bodies)} streams and {len(good.statuses)} other requests served"
        )
    assert len(good.bodies) == STREAMS
    assert all(body.endswith(b"data: [DONE]\n\n") for body in good.bodies)
    (text,) = {text_of(body, stream=True) for body in good.bodies}
    assert len(text.split()) > seconds / PACE / 4
    assert set(good.statuses) == {b"HTTP/1.1 200 OK"}
    assert children(binary, "fa worker") == workers
    assert lines(binary) - logged <= LOG_LINES_PER_SECOND * seconds
    if seconds >= 60:
        assert good.gap < 2 * others.gap
