"""One task that looks after every deadline of the process.

A cancel scope per read costs more than parsing what was read. So whoever waits stamps a `deadline` (trio's clock) on
itself, and the sweeper walks all of them five times a second: a limit fires at most `PERIOD` late, and never early.
"""

from __future__ import annotations

from typing import Protocol

import trio

PERIOD = 0.2
AT_ONCE = 32
"""Deadlines that fire before others have their turn: thousands that began together also end together."""


class Expiring(Protocol):
    """Somebody with a deadline. `expire` is called behind it, in every sweep until the deadline has been moved."""

    deadline: float

    def expire(self) -> None: ...


class Sweeper:
    """The deadlines of one trio run; `sweeper()` finds it. It sleeps while it has nobody to look after."""

    def __init__(self) -> None:
        self._watched: set[Expiring] = set()
        self._wanted = trio.Event()

    def add(self, one: Expiring) -> None:
        """Look after `one` until it is discarded."""
        self._watched.add(one)
        self._wanted.set()

    def discard(self, one: Expiring) -> None:
        self._watched.discard(one)

    async def run(self) -> None:
        while True:
            if not self._watched:
                self._wanted = trio.Event()
                await self._wanted.wait()
            await trio.sleep(PERIOD)
            await self._sweep(trio.current_time())

    async def _sweep(self, now: float) -> None:
        expired = [one for one in self._watched if one.deadline <= now]
        for i, one in enumerate(expired, 1):
            if one in self._watched and one.deadline <= now:  # still: others have run meanwhile
                one.expire()
            if i % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()


_sweeper: trio.lowlevel.RunVar[Sweeper] = trio.lowlevel.RunVar("fastanchor.wire.sweeper")


def sweeper() -> Sweeper:
    """The sweeper of this trio run, started with its first use."""
    try:
        return _sweeper.get()
    except LookupError:
        one = Sweeper()
        _sweeper.set(one)
        trio.lowlevel.spawn_system_task(one.run, name="wire.sweeper")
        return one
