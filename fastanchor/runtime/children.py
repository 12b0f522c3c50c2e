"""Child processes by fork: cheap to start, since everything is imported already and its memory is shared.

Every child gets the read end of a pipe whose other end only the supervisor holds: when the supervisor dies, however it
dies, the pipe ends and the children leave.

A role may be filled by several processes at once: the one that serves, those that drain, and a successor that is not
ready yet. Each has a seat of its own, the number under which it holds places in the shared tables; a seat is given to
another process only after what its last one held was given back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

KILL = b"/kill"
"""Where the control process tells a worker, by its own link, which request it shall end."""
READY = signal.SIGRTMIN
"""What a process that serves sends to the supervisor once it does. Real-time signals queue, so none is lost."""
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, READY)

BACKOFF_FIRST = 0.1
BACKOFF_LAST = 10.0
BURY_SECONDS = 0.02
STEADY_SECONDS = 5.0
"""A process that lived for so long, or said that it serves, was not wrong from the start: it is replaced soon."""

Main = Callable[[int, int], None]
"""What a process runs: takes the lifeline's descriptor and its seat. The process ends when it returns."""
Bury = Callable[[int], bool]
"""Gives back what the dead process of a seat held; False: not yet, ask again."""


class Lifeline:
    """The pipe that tells children that their parent is gone."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()

    def release_in_child(self) -> None:
        """Close the parent's end in a child."""
        os.close(self._writer)


@dataclass(slots=True)
class Process:
    """One process of a role. Times are monotonic seconds."""

    pid: int
    seat: int
    started: float
    ready: bool = False
    leave_by: float | None = None  # it was told to leave; it is killed when it is still there then

    def signal(self, number: int) -> None:
        """Send a signal; a process that has ended but was not reaped yet takes it, too."""
        os.kill(self.pid, number)


@dataclass(slots=True)
class Role:
    """One role of the instance, and who fills it.

    `serves`: it has clients: it says when it is ready, and the other roles stay until all of these have ended.
    `reloads`: it takes SIGHUP as the word that the configuration has changed.
    """

    name: str
    main: Main
    serves: bool = False
    reloads: bool = True
    seats: Sequence[int] = (0,)
    bury: Bury | None = None
    processes: list[Process] = field(default_factory=list)  # the eldest first
    unburied: list[int] = field(default_factory=list)  # seats
    start_at: float | None = 0.0  # when the next process is due; None: none is
    backoff: float = BACKOFF_FIRST
    retired: bool = False  # nobody is to fill it any more

    @property
    def staying(self) -> list[Process]:
        """Those that were not told to leave."""
        return [process for process in self.processes if process.leave_by is None]

    @property
    def ready(self) -> bool:
        """Whether somebody serves, or at least runs where nobody says."""
        return any(process.ready or not self.serves for process in self.staying)

    def seat(self) -> int | None:
        """A free seat."""
        taken = {process.seat for process in self.processes} | set(self.unburied)
        return next((seat for seat in self.seats if seat not in taken), None)

    def tend(self, lifeline: Lifeline, now: float) -> None:
        """Bury the dead; start a process if one is due and a seat is free."""
        self.unburied = [seat for seat in self.unburied if self.bury is not None and not self.bury(seat)]
        if self.retired or self.start_at is None or self.start_at > now:
            return
        seat = self.seat()
        if seat is not None:
            self.start_at = None
            self.processes.append(Process(self._fork(lifeline, seat), seat, now))

    def next_due(self, now: float) -> float | None:
        """When `tend` has something to do, without a signal that says so."""
        if self.unburied:
            return now + BURY_SECONDS
        return None if self.retired or self.seat() is None else self.start_at

    def became_ready(self, process: Process, leave_by: float) -> None:
        """One serves now: those before it may leave."""
        process.ready = True
        for elder in self.staying:
            if elder is process:
                return
            self.dismiss(elder, leave_by)

    def dismiss(self, process: Process, leave_by: float) -> None:
        """Tell a process to leave."""
        process.leave_by = leave_by
        process.signal(signal.SIGTERM)

    def ended(self, process: Process, now: float) -> None:
        """Note the end of a process, and when the next one may start."""
        self.processes.remove(process)
        if self.bury is not None:
            self.unburied.append(process.seat)
        if self.staying or process.leave_by is not None:
            return
        if process.ready or now - process.started >= STEADY_SECONDS:
            self.backoff = BACKOFF_FIRST
        self.start_at = now + self.backoff
        self.backoff = min(BACKOFF_LAST, self.backoff * 2)

    def _fork(self, lifeline: Lifeline, seat: int) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._become(lifeline, seat)
        return pid

    def _become(self, lifeline: Lifeline, seat: int) -> None:
        """Be the child. Its signals stay blocked until `listen`, so that none comes before somebody hears it; those
        that come when nobody hears them any more are ignored (a terminal's interrupt is for the supervisor anyway)."""
        code = 1
        try:
            for number in HANDLED:
                signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
            lifeline.release_in_child()
            _name_process(f"fa {self.name}")
            self.main(lifeline.reader, seat)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # never return into the supervisor's stack


def _name_process(name: str) -> None:
    """What `ps` and `top` show, where the system has a place for it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15])


def listen() -> None:
    """In a child that has its handlers in place: let signals come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def tell_ready(supervisor: int) -> None:
    """In a child that serves: say so. A supervisor that is gone is told nothing."""
    if os.getppid() == supervisor:
        os.kill(supervisor, READY)
