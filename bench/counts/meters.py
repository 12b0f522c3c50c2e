"""Counts of one worker between two points: syscalls by strace, instructions by callgrind (Valgrind).

The gateway's clock stands still (see `counted`), so that nothing is counted that happens by the clock and not by the
request. Only the worker is counted, and of its syscalls only those of the thread that serves. Behind the work a second
passes, in which a thread writes the access log: that is in the instructions. The journal is written, but never synced.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from bench import procs
from bench.build import counter
from bench.counts.counted import COUNT, TICK
from bench.counts.lockstep import Lockstep
from bench.recipes import RECIPES, Place
from bench.subjects import free_port

PATIENCE = 60.0  # seconds for a tool to do what it was told
GLANCE = 0.04  # seconds between two looks at a worker that is to come to rest
SETTINGS = '\n[ledger]\nfsync = "none"\n'
Counts = Counter[str]


class MeterError(Exception):
    """A tool is missing, or did not do what it was told; the text says which."""


class Meter(Protocol):
    """Counts what the worker does while `work` runs."""

    def __call__(self, work: Callable[[], None]) -> Counts: ...


@contextmanager
def syscalls(lockstep: Lockstep, folder: Path) -> Iterator[Meter]:
    """A gateway whose syscalls can be counted, by name."""
    _needs("strace")
    with _serving(lockstep, _program()) as worker:
        summary = folder / "syscalls"

        def count(work: Callable[[], None]) -> Counts:
            command = ["strace", "-c", "-U", "calls,name", "-o", str(summary), "-p", str(worker)]
            with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
                assert strace.stderr is not None
                said = strace.stderr.readline().decode()
                if "attached" not in said:
                    raise MeterError(f"strace cannot look into the worker: {said.strip()}")
                work()
                _pass_a_second(worker)
                strace.send_signal(signal.SIGINT)
            rows = re.findall(r"^ *(\d+) +(\w+)$", summary.read_text(), re.MULTILINE)
            return Counter({name: int(calls) for calls, name in rows if name != "total"})

        yield count


@contextmanager
def instructions(lockstep: Lockstep, folder: Path) -> Iterator[Meter]:
    """A gateway whose instructions can be counted. The files stay in the folder, for callgrind_annotate."""
    _needs("valgrind")
    tool = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/callgrind.%p"]
    with _serving(lockstep, ["valgrind", "-q", *tool, *_program()]) as worker:
        written = 0

        def so_far() -> int:
            nonlocal written
            written += 1
            os.kill(worker, COUNT)
            return _total(folder / f"callgrind.{worker}.{written}")

        def count(work: Callable[[], None]) -> Counts:
            so_far()
            work()
            _pass_a_second(worker)
            return Counter({"instructions": so_far()})

        os.kill(worker, COUNT)  # it begins
        _come_to_rest(worker)
        yield count


def _program() -> list[str]:
    return [sys.executable, "-m", "bench.counts.counted", str(counter())]


def _pass_a_second(worker: int) -> None:
    _come_to_rest(worker)
    os.kill(worker, TICK)
    _come_to_rest(worker)


def _come_to_rest(worker: int) -> None:
    """Wait until a worker has nothing left to do: its threads sleep, and have not run for a while."""
    before, idle = None, 0
    while idle < 2:
        time.sleep(GLANCE)
        now = procs.tree_time(worker).threads
        idle = idle + 1 if now == before and not procs.running(worker) else 0
        before = now


def _total(file: Path) -> int:
    """What a file of callgrind's says in its last line, once it is written."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        text = file.read_text() if file.exists() else ""
        if found := re.search(r"^totals: (\d+)$", text, re.MULTILINE):
            return int(found[1])
        time.sleep(0.02)
    raise MeterError(f"callgrind did not write {file.name}")


@contextmanager
def _serving(lockstep: Lockstep, program: list[str]) -> Iterator[int]:
    """A gateway with the lockstep between its client and its provider; yields its worker's process."""
    with tempfile.TemporaryDirectory(prefix="fastanchor-counts-") as name:
        place = Place(Path(name), free_port(), lockstep.provider_port)
        command = RECIPES["fastanchor"].prepare(place)
        with Path(command[command.index("--config") + 1]).open("a") as config:
            config.write(SETTINGS)
        output = place.folder / "output"
        environ = {**os.environ, "PYTHONHASHSEED": "0"}
        with output.open("wb") as log:
            process = subprocess.Popen(
                [*program, *command[command.index("serve") :]], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environ, start_new_session=True,
            )  # fmt: skip
        try:
            worker = _await_worker(process, output)
            lockstep.port, lockstep.worker = place.port, worker
            yield worker
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with its clock it would take for ever to drain
            process.wait()


def _await_worker(process: subprocess.Popen[bytes], output: Path) -> int:
    ends = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < ends:
        if worker := next((pid for pid in procs.tree(process.pid) if procs.name(pid) == "fa worker 0"), None):
            return worker
        time.sleep(0.05)
    raise MeterError(f"the gateway does not serve; its last output:\n{output.read_text()[-2000:]}")


def _needs(tool: str) -> None:
    if shutil.which(tool) is None:
        raise MeterError(f"{tool} is not installed (Debian: apt-get install {tool})")
