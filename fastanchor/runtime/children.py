"""Child processes by fork: cheap to start, since everything is imported already and its memory is shared.

Every child gets the read end of a pipe whose other end only the supervisor holds: when the supervisor dies, however it
dies, the pipe ends and the children leave.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)

BACKOFF_FIRST = 0.1
BACKOFF_LAST = 10.0
BURY_SECONDS = 0.02
STEADY_SECONDS = 30.0
"""A child that lived for so long starts again at once."""


class Lifeline:
    """The pipe that tells children that their parent is gone."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()

    def release_in_child(self) -> None:
        """Close the parent's end in a child."""
        os.close(self._writer)


@dataclass(slots=True)
class Child:
    """One slot of the instance: what runs in it, and what became of it. Times are monotonic seconds."""

    name: str
    main: Callable[[int], None]  # takes the lifeline's descriptor; the process ends when it returns
    serves: bool = False  # it has clients: the others stay until all of these have ended
    bury: Callable[[], bool] | None = None  # gives back what a dead process held; False: not yet, ask again
    buried: bool = True
    pid: int = 0
    started: float = 0.0
    restart_at: float | None = None
    backoff: float = field(default=BACKOFF_FIRST)
    restarts: int = 0

    def start(self, lifeline: Lifeline, now: float) -> None:
        """Fork, and run `main` in the child."""
        sys.stdout.flush()
        sys.stderr.flush()
        self.started, self.restart_at, self.buried = now, None, False
        self.pid = os.fork()
        if self.pid == 0:
            self._become(lifeline)

    def _become(self, lifeline: Lifeline) -> None:
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's interrupt is for the supervisor
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            lifeline.release_in_child()
            self.main(lifeline.reader)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # never return into the supervisor's stack

    def ended(self, now: float) -> None:
        """Note the end of the process and when the next one may start."""
        self.pid = 0
        self.restarts += 1
        if now - self.started >= STEADY_SECONDS:
            self.backoff = BACKOFF_FIRST
        self.restart_at = now + self.backoff
        self.lay_to_rest(now)
        self.backoff = min(BACKOFF_LAST, self.backoff * 2)

    def lay_to_rest(self, now: float) -> bool:
        """Give back what the dead process held. False: that must be tried again, shortly."""
        self.buried = self.buried or self.bury is None or self.bury()
        if not self.buried:
            self.restart_at = now + BURY_SECONDS
        return self.buried

    def signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        if self.pid:
            os.kill(self.pid, number)
