"""The rig: the stub provider, the load generator, and the weighing of one window of load.

The subject has one core for itself, everything else (stub, load, this program) the other. A window is exactly what the
load generator did between "go" and "done": the run times are read at both ends, while no request is under way.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from bench import procs
from bench.build import Native

KEY = "fastanchor-bench-key"
START_LIMIT = 60.0  # seconds for opening and warming the connections of a window
SILENCE_LIMIT = 20.0  # seconds without a byte after which the load generator gives up


class RigError(Exception):
    """The rig itself failed: a program of ours died or did not answer."""


class Refused(Exception):
    """The window cannot be used; the text says why."""


class Target(Protocol):
    """Where a window's load goes: an address, and the process to weigh (None = nothing stands in between)."""

    @property
    def port(self) -> int: ...
    @property
    def pid(self) -> int | None: ...


@dataclass(frozen=True)
class Load:
    """One window. Closed loop with `connections`, or with `rate` (requests/s) an open loop with intended send times.

    `events` = 0 asks for a plain answer, else for a stream of that many, one every `pace_ms` (0: all at once).
    It ends after `requests`, or after `seconds`, whichever is given. With a `provider` the model's name ends in it, and
    a gateway that has one of that name takes the answer from there, in that provider's format; others relay as ever.
    Each connection does `warm` requests before the window.
    """

    connections: int = 8
    requests: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    events: int = 0
    pace_ms: int = 0
    body_bytes: int = 1024
    dialect: str = "openai"
    provider: str = ""
    warm: int = 4
    options: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """The load generator's command line, but for the address."""
        suffix = f"-{self.provider}" if self.provider else ""
        words = {
            "connections": self.connections,
            "requests": self.requests,
            "seconds": self.seconds,
            "rate": self.rate,
            "model": f"bench-n{self.events or 1}-p{self.pace_ms}{suffix}",
            "body-bytes": self.body_bytes,
            "warm": self.warm,
            "dialect": self.dialect,
            "key": KEY,
            "timeout": SILENCE_LIMIT,
        }
        flags = ["--stream"] if self.events else []
        return (
            [text for name, value in words.items() for text in (f"--{name}", str(value))] + flags + list(self.options)
        )


@dataclass(frozen=True)
class Window:
    """What one window showed. Run times are nanoseconds, `foreign` and `steal` shares of the machine."""

    seen: dict[str, Any]  # the load generator's own report
    gateway_ns: int
    load_ns: int
    stub_ns: int
    wall: float
    foreign: float
    steal: float

    @property
    def requests(self) -> int:
        return int(self.seen["requests"])

    @property
    def events(self) -> int:
        return int(self.seen["events"])

    @property
    def per_second(self) -> float:
        return self.requests / float(self.seen["seconds"])

    @property
    def gateway_us(self) -> float:
        """CPU of the gateway per request, µs."""
        return self.gateway_ns / self.requests / 1e3

    @property
    def rig_us(self) -> float:
        """CPU of load and stub per request, µs."""
        return (self.load_ns + self.stub_ns) / self.requests / 1e3

    @property
    def rig_busy(self) -> float:
        """Share of their core that load and stub used."""
        return (self.load_ns + self.stub_ns) / 1e9 / self.wall

    @property
    def gateway_busy(self) -> float:
        """Share of one core that the gateway used."""
        return self.gateway_ns / 1e9 / self.wall

    def percentile(self, histogram: str, name: str) -> float:
        """Microseconds, e.g. ("ttft", "p99")."""
        return float(self.seen[histogram][name]) / 1e3


@dataclass
class Rig:
    """The running stub and how to put load on something."""

    native: Native
    stub_pid: int
    stub_port: int
    rig_cores: set[int]
    gateway_cores: set[int]
    all_cores: set[int]

    @property
    def pinned(self) -> bool:
        """Whether the subject has a core that the rig does not use."""
        return not self.rig_cores & self.gateway_cores

    def measure(self, target: Target, load: Load) -> Window:
        """Runs one window and weighs it.

        Raises:
            Refused: a request failed or an answer was corrupt, or a weighed process ended.
            RigError: the load generator died or hung.
        """
        with self._load(target, load.arguments()) as talk:
            first = talk.hear(START_LIMIT)
            if first["phase"] != "ready":
                raise Refused(f"warm-up failed: {first['first_failure']}")
            return self._weigh(target, lambda: talk.ask(load.seconds + START_LIMIT + SILENCE_LIMIT))

    @contextmanager
    def held(self, target: Target, load: Load) -> Iterator[None]:
        """Holds `load.connections` streams open, each past its first event, inside the `with` block.

        Raises:
            Refused: not all of them opened, or one was lost or mixed up before the block ended.
        """
        with self._load(target, [*load.arguments(), "--hold"]) as talk:
            for step in ("ready", "held"):
                heard = talk.hear(START_LIMIT) if step == "ready" else talk.ask(START_LIMIT)
                if heard["phase"] != step:
                    raise Refused(f"not all {load.connections} streams opened: {heard['first_failure']}")
            yield
            done = talk.ask(START_LIMIT)
            if done["failures"]["all"] or done["held"] != load.connections:
                raise Refused(f"{done['held']} of {load.connections} streams were still whole: {done['first_failure']}")

    def _weigh(self, target: Target, run: Callable[[], dict[str, Any]]) -> Window:
        begun, machine, own = time.monotonic(), procs.machine_time(), time.process_time()
        stub = procs.tree_time(self.stub_pid)
        gateway = procs.tree_time(target.pid) if target.pid is not None else None
        seen = run()
        try:
            gateway_ns = procs.spent(gateway, procs.tree_time(target.pid)) if gateway and target.pid else 0
            stub_ns = procs.spent(stub, procs.tree_time(self.stub_pid))
        except procs.ProcessGone as error:
            raise Refused(str(error)) from error
        wall, later, cores = time.monotonic() - begun, procs.machine_time(), os.cpu_count() or 1
        ours = (gateway_ns + stub_ns + int(seen["cpu_ns"])) / 1e9 + time.process_time() - own
        window = Window(
            seen,
            gateway_ns,
            int(seen["cpu_ns"]),
            stub_ns,
            wall,
            foreign=max(0.0, later.busy - machine.busy - ours) / wall / cores,
            steal=(later.steal - machine.steal) / wall / cores,
        )
        if seen["failures"]["all"]:
            raise Refused(f"{seen['failures']['all']} failed requests, first: {seen['first_failure']}")
        if not window.requests:
            raise Refused("no request was answered")
        return window

    @contextmanager
    def _load(self, target: Target, arguments: list[str]) -> Iterator[_Talk]:
        command = [str(self.native.load), "--port", str(target.port), *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
            try:
                yield _Talk(process)
            finally:
                process.kill()


@dataclass(frozen=True)
class _Talk:
    """The line-by-line talk with the load generator."""

    process: subprocess.Popen[bytes]

    def ask(self, limit: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(b"go\n")
        except BrokenPipeError as error:
            raise RigError("the load generator died") from error
        return self.hear(limit)

    def hear(self, limit: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        line, ends = b"", time.monotonic() + limit
        while not line.endswith(b"\n"):
            if not select.select([self.process.stdout], [], [], max(0.0, ends - time.monotonic()))[0]:
                raise RigError(f"the load generator did not answer for {limit:.0f} s")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                raise RigError(f"the load generator ended with status {self.process.wait()}")
            line += piece
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def running(native: Native, stub_port: int = 0) -> Iterator[Rig]:
    """Starts the stub on the first usable core and leaves the second to the subjects.

    With one core there is nothing to leave: everything shares it and `Rig.pinned` is false.
    """
    cores = sorted(os.sched_getaffinity(0))
    rig_cores, gateway_cores = {cores[0]}, {cores[1 if len(cores) > 1 else 0]}
    with on_cores(rig_cores), subprocess.Popen([str(native.stub), str(stub_port)], stdout=subprocess.PIPE) as stub:
        try:
            assert stub.stdout is not None
            words = stub.stdout.readline().split()
            if len(words) != 2:
                raise RigError(f"the stub did not start (port {stub_port} taken?)")
            yield Rig(native, stub.pid, int(words[1]), rig_cores, gateway_cores, set(cores))
        finally:
            stub.kill()


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """Keeps this thread, and every process that it starts inside the block, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
