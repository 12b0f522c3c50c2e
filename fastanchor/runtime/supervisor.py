"""The first process: owns the listening sockets and the children, and does nothing else.

    supervisor ─┬─ worker 0 … N-1   the data plane; all accept from the same sockets, kept here for life
                ├─ control          admin API, dashboard, metrics
                └─ demo             the built-in provider, when a channel names it

It runs no event loop: it waits for signals, one at a time.

    SIGTERM, SIGINT   drain and leave; a second one: cut what is open, account for it and leave; a third one: kill
    SIGHUP            check the configuration and hand it to the children; a bad one changes nothing
    SIGUSR1           replace the workers one by one; each successor serves before its predecessor drains
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fastanchor.runtime import notify
from fastanchor.runtime.children import HANDLED, READY, Bury, Lifeline, Main, Process, Role
from fastanchor.settings.compile import Settings
from fastanchor.settings.problem import SettingsError

log = logging.getLogger("fastanchor")

GRACE = 2.0
"""Seconds beyond the drain deadline before a child is killed."""
HURRY = 1.0
"""Seconds that a child has to account for what is cut."""
LONGEST_WAIT = 60.0


class Supervisor:
    """Starts an instance and keeps it alive until it is told to stop.

    Args:
        settings: the configuration in force.
        reload: takes over the configuration as it now is. Raises SettingsError, and then nothing has changed.
        noted: called with "restart", "reload" or "refusal" for each that happens.
    """

    def __init__(
        self, settings: Settings, reload: Callable[[], Settings], noted: Callable[[str], None] = lambda what: None
    ) -> None:
        self.settings = settings
        self.reload = reload
        self.noted = noted
        self.lifeline = Lifeline()
        self.roles: list[Role] = []
        self.run_dir = Path(tempfile.mkdtemp(prefix="fastanchor-"))
        self.stops = 0  # how often it was told to stop
        self.renew_since: float | None = None  # workers that started before are to be replaced
        self._told_ready = False

    def add(
        self, name: str, main: Main, *, serves: bool = False, reloads: bool = True, seats: tuple[int, ...] = (0,),
        bury: Bury | None = None,
    ) -> None:
        """Give the instance a role; it is filled with `run`. Those that serve clients end first, the others after."""
        self.roles.append(Role(name, main, serves, reloads, seats, bury))

    def has(self, name: str) -> bool:
        """Whether there is such a role."""
        return any(role.name == name for role in self.roles)

    def run(self) -> int:
        """Run until told to stop. Returns the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            while not self.stops or any(role.processes for role in self.roles):
                self._step()
            return 0
        finally:
            self._kill(lambda process: True)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _step(self) -> None:
        """Do what is due, wait for the next signal or the next deadline, and act on it."""
        now = time.monotonic()
        self._renew(now)
        for role in self.roles:
            role.tend(self.lifeline, now)
        self._kill(lambda process: process.leave_by is not None and process.leave_by <= now)
        received = signal.sigtimedwait(HANDLED, self._patience(time.monotonic()))
        if received is not None:
            self._obey(received.si_signo, received.si_pid)
        self._reap()
        if self.stops and not any(role.processes for role in self.roles if role.serves):
            self._dismiss(serving=False, leave_by=time.monotonic() + GRACE)

    def _obey(self, number: int, sender: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGUSR1:
            self.renew_since = time.monotonic()
        elif number == READY:
            self._became_ready(sender)

    def _patience(self, now: float) -> float:
        """Seconds until something is due without a signal."""
        due = [now + LONGEST_WAIT]
        for role in self.roles:
            start = role.next_due(now)
            due += [] if start is None else [start]
            due += [process.leave_by for process in role.processes if process.leave_by is not None]
        return max(0.0, min(due) - now)

    def _became_ready(self, pid: int) -> None:
        for role in self.roles:
            for process in role.processes:
                if process.pid == pid:
                    role.became_ready(process, time.monotonic() + self._drain_seconds)
        if not self._told_ready and all(role.ready for role in self.roles):
            self._told_ready = True
            notify.send("READY=1")

    def _renew(self, now: float) -> None:
        """Start the next successor, if one is wanted and none is on its way."""
        since = self.renew_since
        if since is None or self.stops:
            return
        for role in self.roles:
            new = [process for process in role.staying if process.started > since]
            if not role.serves or any(process.ready for process in new):
                continue
            if not new and role.start_at is None:
                role.start_at = now
            return
        self.renew_since = None
        log.info("all workers have been replaced")

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for role in self.roles:
                for process in list(role.processes):
                    if process.pid == pid:
                        self._ended(role, process, os.waitstatus_to_exitcode(status))

    def _ended(self, role: Role, process: Process, code: int) -> None:
        role.ended(process, time.monotonic())
        if process.leave_by is not None and code == 0:
            return
        log.warning("%s (process %d) ended with %d", role.name, process.pid, code)
        self.noted("restart")
        if self.renew_since is not None and process.started > self.renew_since and not process.ready:
            self.renew_since = None
            log.error("a successor of %s did not become ready: the workers are not replaced any further", role.name)

    @property
    def _drain_seconds(self) -> float:
        return self.settings.server.drain_seconds + GRACE

    def _stop(self) -> None:
        self.stops += 1
        now = time.monotonic()
        if self.stops == 1:
            notify.send("STOPPING=1")
            for role in self.roles:
                role.retired = True
            self._dismiss(serving=True, leave_by=now + self._drain_seconds)
        elif self.stops == 2:
            for process in [process for role in self.roles if role.serves for process in role.processes]:
                process.leave_by = now + HURRY
                process.signal(signal.SIGTERM)
        else:
            self._kill(lambda process: True)

    def _reload(self) -> None:
        """Hand the file to the children, if it is good as a whole; a bad one changes nothing and says why."""
        notify.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self.settings = self.reload()
        except SettingsError as error:
            for problem in error.problems:
                log.error("reload refused: %s", problem)
            self.noted("refusal")
            notify.send("READY=1\nSTATUS=The configuration was refused; the one before is in force.")
            return
        self.noted("reload")
        for process in [process for role in self.roles if role.reloads for process in role.staying]:
            process.signal(signal.SIGHUP)
        notify.send("READY=1\nSTATUS=")

    def _dismiss(self, *, serving: bool, leave_by: float) -> None:
        for role in self.roles:
            if role.serves is serving:
                for process in role.staying:
                    role.dismiss(process, leave_by)

    def _kill(self, which: Callable[[Process], bool]) -> None:
        for process in [process for role in self.roles for process in role.processes if which(process)]:
            with contextlib.suppress(ProcessLookupError):
                process.signal(signal.SIGKILL)
