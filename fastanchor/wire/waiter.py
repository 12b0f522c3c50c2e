"""One task's sleep until somebody wakes it, or its deadline passes: what a stream of a shared connection waits with."""

from __future__ import annotations

import math

import outcome
import trio

from .link import DeadlinePassed
from .sweep import sweeper


class Waiter:
    """Sleeps for one task at a time. A wake-up that nobody waits for is lost: look at what you wait for first."""

    __slots__ = ("_task", "deadline")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self.deadline = math.inf

    @property
    def asleep(self) -> bool:
        return self._task is not None

    async def sleep(self, seconds: float | None = None) -> None:
        """Until `wake`. Raises DeadlinePassed after `seconds`; None: no limit."""
        if self._task is not None:
            raise trio.BusyResourceError("another task sleeps here")
        self._task = trio.lowlevel.current_task()
        if seconds is not None:
            self.deadline = trio.current_time() + seconds
            sweeper().add(self)
        try:
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        finally:
            if seconds is not None:
                sweeper().discard(self)
                self.deadline = math.inf

    def wake(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def expire(self) -> None:
        """Called by the sweeper."""
        self.deadline = math.inf
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task, outcome.Error(DeadlinePassed()))

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
