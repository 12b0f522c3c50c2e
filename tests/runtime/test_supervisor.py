"""The supervisor with children that do nothing but live and die as they are told. It runs in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fastanchor.runtime.children import BACKOFF_LAST, HANDLED, Process, Role, tell_ready
from fastanchor.runtime.supervisor import Supervisor
from fastanchor.settings.load import load
from fastanchor.settings.problem import Problem, SettingsError


@dataclass
class Run:
    """A supervisor that runs. Its children write a line per event into `file`: what happened, seat, process."""

    pid: int
    file: Path

    def events(self, what: str) -> list[tuple[int, int]]:
        """(seat, process) of each event of a kind, in their order."""
        lines = [line.split() for line in self.file.read_text().splitlines()]
        return [(int(seat), int(pid)) for kind, seat, pid in lines if kind == what]

    def wait(self, what: str, count: int) -> list[tuple[int, int]]:
        end = time.monotonic() + 60
        while len(found := self.events(what)) < count:
            assert time.monotonic() < end, (what, self.file.read_text())
            time.sleep(0.01)
        return found

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def left(self) -> int:
        """Wait for the end; the exit code."""
        end = time.monotonic() + 60
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < end, self.file.read_text()
            time.sleep(0.01)


def child(file: Path, supervisor: Callable[[], int], *, deaf: bool = False) -> Callable[[int, int], None]:
    """A worker: says that it serves, and leaves when it is told to; a deaf one does not."""

    def main(lifeline: int, seat: int) -> None:
        said = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.write(said, f"born {seat} {os.getpid()}\n".encode())
        tell_ready(supervisor())
        while True:
            number = signal.sigwait(HANDLED)
            os.write(said, f"{signal.Signals(number).name} {seat} {os.getpid()}\n".encode())
            if number == signal.SIGTERM and not deaf:
                os.write(said, f"left {seat} {os.getpid()}\n".encode())
                return

    return main


@contextmanager
def running(tmp_path: Path, *, workers: int = 2, deaf: bool = False, bad: bool = False) -> Iterator[Run]:
    file = tmp_path / "events"
    file.touch()
    settings = load(None, {}, pepper=b"")
    settings = replace(settings, server=replace(settings.server, drain_seconds=0.0))

    def reload() -> object:
        if bad:
            raise SettingsError("file", [Problem("x", "is wrong")])
        return settings

    def noted(what: str) -> None:
        with file.open("a") as said:
            said.write(f"{what} 0 0\n")

    def bury(seat: int) -> bool:
        noted(f"buried{seat}")
        return True

    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            supervisor = Supervisor(settings, reload, noted)  # type: ignore[arg-type]
            me = os.getpid()
            for i in range(workers):
                main = child(file, lambda: me, deaf=deaf)
                supervisor.add(f"worker {i}", main, serves=True, seats=(i, i + workers), bury=bury)
            supervisor.add("control", child(file, lambda: 0), seats=(99,))
            code = supervisor.run()
        finally:
            os._exit(code)
    run = Run(pid, file)
    try:
        run.wait("born", workers + 1)
        yield run
    finally:
        if run.pid:
            os.kill(run.pid, signal.SIGKILL)
            os.waitpid(run.pid, 0)
            for _, orphan in run.events("born"):
                try:
                    os.kill(orphan, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def test_it_leaves_when_all_have_left_and_those_that_serve_go_first(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.signal(signal.SIGTERM)
        assert run.left() == 0
        assert [seat for seat, _ in run.events("left")][-1] == 99
        assert len(run.events("left")) == 3


def test_a_dead_one_is_buried_and_replaced_in_a_seat(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        seat, victim = next(event for event in run.events("born") if event[0] == 0)
        os.kill(victim, signal.SIGKILL)
        born = run.wait("born", 4)
        assert born[-1][0] in (0, 2)
        assert run.events(f"buried{seat}")
        assert run.events("restart")


def test_successors_serve_before_their_predecessors_leave_one_by_one(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        before = {seat for seat, _ in run.events("born")}
        run.signal(signal.SIGUSR1)
        run.wait("left", 2)
        lines = [line.split()[:2] for line in run.file.read_text().splitlines()]
        order = [f"{what} {seat}" for what, seat in lines if what in ("born", "left")][3:]
        assert order == ["born 2", "left 0", "born 3", "left 1"] or order == ["born 2", "born 3", "left 0", "left 1"]
        assert before == {0, 1, 99}
        assert not run.events("restart")
        run.signal(signal.SIGUSR1)  # and back into the seats of the first
        run.wait("left", 4)
        assert [seat for seat, _ in run.events("born")][-2:] == [0, 1]
        run.signal(signal.SIGTERM)
        assert run.left() == 0


def test_those_that_do_not_leave_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastanchor.runtime.supervisor.GRACE", 0.3)
    with running(tmp_path, deaf=True) as run:
        run.signal(signal.SIGTERM)
        assert run.left() == 0
        assert [seat for seat, _ in run.events("left")] == [99]


def test_a_second_signal_tells_them_again_and_a_third_one_kills(tmp_path: Path) -> None:
    with running(tmp_path, deaf=True) as run:
        run.signal(signal.SIGINT)
        run.wait("SIGTERM", 2)
        run.signal(signal.SIGINT)
        run.wait("SIGTERM", 4)
        run.signal(signal.SIGINT)
        assert run.left() == 0


@pytest.mark.parametrize("bad", [False, True])
def test_a_configuration_is_handed_on_if_it_is_good(tmp_path: Path, bad: bool) -> None:
    with running(tmp_path, bad=bad) as run:
        run.signal(signal.SIGHUP)
        if bad:
            run.wait("refusal", 1)
            assert not run.events("SIGHUP")
        else:
            run.wait("SIGHUP", 3)
            assert run.events("reload")


def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with running(tmp_path) as run:
            assert manager.recv(100) == b"READY=1"
            run.signal(signal.SIGHUP)
            assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(100).startswith(b"READY=1")
            run.signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            run.left()


def role(**changes: object) -> Role:
    return Role("worker 0", lambda lifeline, seat: None, serves=True, seats=(0, 1), **changes)  # type: ignore[arg-type]


def test_those_that_never_serve_come_back_later_and_later() -> None:
    slot, waits = role(), []
    for _ in range(12):
        process = Process(1, 0, started=100.0)
        slot.processes.append(process)
        slot.ended(process, 100.5)
        assert slot.start_at is not None
        waits.append(round(slot.start_at - 100.5, 3))
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == BACKOFF_LAST


@pytest.mark.parametrize(("ready", "ended"), [(True, 100.1), (False, 106.0)])
def test_one_that_has_served_or_lived_is_replaced_soon(ready: bool, ended: float) -> None:
    slot = role(backoff=8.0)
    process = Process(1, 0, started=100.0, ready=ready)
    slot.processes.append(process)
    slot.ended(process, ended)
    assert slot.start_at == pytest.approx(ended + 0.1)


def test_a_seat_is_not_given_away_before_its_last_holder_is_buried() -> None:
    slot = role(bury=lambda seat: False)
    process = Process(1, 0, started=100.0)
    slot.processes.append(process)
    slot.ended(process, 101.0)
    assert slot.seat() == 1
    slot.processes.append(Process(2, 1, started=102.0))
    assert slot.seat() is None
    slot.bury = lambda seat: True
    slot.start_at = None
    slot.tend(None, 103.0)  # type: ignore[arg-type]
    assert slot.seat() == 0
