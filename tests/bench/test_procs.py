"""Weighing a process tree: run time of children and of ended threads is counted, a missing process is said."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench import procs

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
SAY = "import sys, time; print(int(time.process_time() * 1e9), flush=True); sys.stdin.readline()\n"
WAIT = "import sys; print(0, flush=True); sys.stdin.readline()\n"


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as made:
        try:
            yield made
        finally:
            made.kill()


def line(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_the_run_time_of_a_busy_child_is_what_it_measures_itself() -> None:
    with child(WAIT + BURN.format(seconds=0.3) + SAY) as busy:
        line(busy)
        before = procs.tree_time(busy.pid)
        assert busy.stdin is not None
        busy.stdin.write("\n")
        busy.stdin.flush()
        total = line(busy)
        after = procs.tree_time(busy.pid)
    started = sum(before.threads.values())
    assert procs.spent(before, after) == pytest.approx(total - started, rel=0.1)


def test_grandchildren_are_counted() -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN.format(seconds=0.2) + SAY!r}])"
    with child(code) as parent:
        before = procs.TreeTime({}, {})
        inner = line(parent)
        after = procs.tree_time(parent.pid)
        assert len(procs.tree(parent.pid)) == 2
    assert procs.spent(before, after) >= inner


def test_a_thread_that_ended_is_counted_by_ticks() -> None:
    code = (
        "import threading, time, sys\n"
        "def burn():\n"
        "    print(0, flush=True); sys.stdin.readline()\n"
        "    ends = time.thread_time() + 0.3\n"
        "    while time.thread_time() < ends: pass\n"
        "thread = threading.Thread(target=burn); thread.start(); thread.join()\n" + SAY
    )
    with child(code) as busy:
        line(busy)
        before = procs.tree_time(busy.pid)
        assert busy.stdin is not None
        busy.stdin.write("\n")
        busy.stdin.flush()
        line(busy)
        after = procs.tree_time(busy.pid)
    assert len(after.threads) < len(before.threads)
    assert procs.spent(before, after) >= 250_000_000


def test_a_process_that_ended_is_said() -> None:
    with child(WAIT) as short:
        line(short)
        before = procs.tree_time(os.getpid())
        short.kill()
        short.wait()
        with pytest.raises(procs.ProcessGone, match=str(short.pid)):
            procs.spent(before, procs.tree_time(os.getpid()))


def test_memory_grows_by_what_a_process_holds() -> None:
    code = WAIT + "held = b'x' * 50_000_000\n" + SAY
    with child(code) as grower:
        line(grower)
        before = procs.tree_memory(grower.pid)
        assert grower.stdin is not None
        grower.stdin.write("\n")
        grower.stdin.flush()
        line(grower)
        after = procs.tree_memory(grower.pid)
    assert before.processes == after.processes == 1
    assert after.pss - before.pss == pytest.approx(50_000_000, rel=0.1)
    assert after.rss >= after.pss


def test_a_tree_that_is_gone_is_empty() -> None:
    with child(WAIT) as short:
        line(short)
        short.kill()
        short.wait()
        assert procs.tree(short.pid) == []


def test_the_listener_of_a_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert procs.listener_of(port) == os.getpid()
    assert procs.listener_of(port) is None


def test_the_machine_has_been_busy() -> None:
    before = procs.machine_time()
    ends = time.process_time() + 0.2
    while time.process_time() < ends:
        pass
    assert procs.machine_time().busy > before.busy
