"""The first process: owns the listening sockets and the children, and does nothing else.

    supervisor ─┬─ worker 0 … N-1   the data plane, one SO_REUSEPORT socket each, kept here for life
                ├─ control          admin API, dashboard, metrics
                └─ demo             the built-in provider, when a channel names it

It runs no event loop: it waits for signals, one at a time.
SIGTERM, SIGINT: drain and leave; a second one: leave now. SIGHUP: check the configuration and reload the workers.
SIGUSR1: drain the workers one by one and replace them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fastanchor.runtime import notify
from fastanchor.runtime.children import HANDLED, Child, Lifeline
from fastanchor.settings.compile import Settings
from fastanchor.settings.load import check
from fastanchor.settings.server import ServerSettings
from fastanchor.wire.listen import bind

log = logging.getLogger("fastanchor")

GRACE = 2.0
"""Seconds beyond the drain deadline before a child is killed."""


class Supervisor:
    """Starts an instance and keeps it alive until it is told to stop.

    Args:
        path: the configuration file, for reloads.
        settings: the compiled configuration.
        environ: where its secrets come from.
    """

    def __init__(self, path: Path | None, settings: Settings, environ: Mapping[str, str]) -> None:
        self.path = path
        self.settings = settings
        self.environ = environ
        self.lifeline = Lifeline()
        self.children: list[Child] = []
        self.run_dir = Path(tempfile.mkdtemp(prefix="fastanchor-"))
        self.stopping: float | None = None

    @property
    def server(self) -> ServerSettings:
        return self.settings.server

    def add(
        self,
        name: str,
        main: Callable[[int], None],
        *,
        serves: bool = False,
        bury: Callable[[], bool] | None = None,
    ) -> None:
        """Give the instance a child; it starts with `run`. Those that serve clients end first, the others after."""
        self.children.append(Child(name, main, serves, bury))

    def run(self) -> int:
        """Run until told to stop. Returns the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            now = time.monotonic()
            for child in self.children:
                child.start(self.lifeline, now)
            notify.send("READY=1")
            while self._alive():
                self._step()
            return 0
        finally:
            self._kill()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _alive(self) -> bool:
        return self.stopping is None or any(child.pid for child in self.children)

    def _step(self) -> None:
        """Wait for the next signal or the next deadline, and act on it."""
        received = signal.sigtimedwait(HANDLED, self._patience())
        self._reap()
        number = received.si_signo if received is not None else 0
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGUSR1:
            self._tell(signal.SIGTERM, serving=True)
        self._restart()
        if self.stopping is None:
            return
        if not any(child.pid for child in self.children if child.serves):
            self._tell(signal.SIGTERM, serving=False)
        if time.monotonic() > self.stopping:
            self._kill()

    def _patience(self) -> float:
        """Seconds until something is due without a signal."""
        due = [c.restart_at for c in self.children if c.restart_at is not None]
        if self.stopping is not None:
            due = [self.stopping]
        return max(0.0, min(due, default=time.monotonic() + 60.0) - time.monotonic())

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self.children:
                if child.pid == pid:
                    child.ended(time.monotonic())
                    if self.stopping is None:
                        code = os.waitstatus_to_exitcode(status)
                        log.warning("%s (process %d) ended with %d", child.name, pid, code)

    def _restart(self) -> None:
        if self.stopping is not None:
            return
        now = time.monotonic()
        for child in self.children:
            if child.pid or child.restart_at is None or child.restart_at > now:
                continue
            if child.lay_to_rest(now):
                child.start(self.lifeline, now)

    def _stop(self) -> None:
        if self.stopping is not None:  # asked for the second time
            self._kill()
            return
        notify.send("STOPPING=1")
        self.stopping = time.monotonic() + self.server.drain_seconds + GRACE
        self._tell(signal.SIGTERM, serving=True)

    def _reload(self) -> None:
        """Hand the file to the workers, if it is good as a whole; a bad one changes nothing and says why."""
        problems = check(self.path, self.environ)
        for problem in problems:
            log.error("reload refused: %s", problem)
        if problems:
            return
        notify.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        for child in self.children:
            if child.name != "demo provider":
                child.signal(signal.SIGHUP)
        notify.send("READY=1")

    def _tell(self, number: int, *, serving: bool) -> None:
        for child in self.children:
            if child.serves is serving:
                child.signal(number)

    def _kill(self) -> None:
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                child.signal(signal.SIGKILL)


def bind_slots(server: ServerSettings, workers: int) -> list[list[socket.socket]]:
    """Listening sockets for each worker: its own for every TCP address (SO_REUSEPORT), one shared for a unix path.

    Raises OSError when an address is taken.
    """
    slots: list[list[socket.socket]] = [[] for _ in range(workers)]
    for address in server.listen:
        shared = bind(str(address)) if address.path else None
        port = address.port
        for slot in slots:
            if shared is not None:
                slot.append(shared)
                continue
            listener = bind(str(replace(address, port=port)), reuse_port=True, backlog=server.limits.backlog)
            port = listener.getsockname()[1]  # port 0: all workers share what the first one got
            slot.append(listener)
    return slots
