"""The rest of a race, beside a first attempt that runs in its request's own task.

A nursery for every request that could be hedged would cost more than all of its routing, although nearly always the
first attempt speaks before a second one is due. So the first attempt runs alone; only when its time is over does a task
of its own carry the plan on. Whoever wins cancels the other, and the request leaves only when both have ended.
"""

from __future__ import annotations

import math

import trio

from fastanchor.core.faults import Fault
from fastanchor.engine.finish import Finish
from fastanchor.engine.nursery import unwrapped
from fastanchor.wire.sweep import sweeper


class Aside:
    """One race's second half. `deadline` and `expire` are what the sweeper knows of it."""

    __slots__ = ("deadline", "done", "error", "finish", "first", "over", "rest")

    def __init__(self, finish: Finish, deadline: float) -> None:
        self.finish = finish
        self.deadline = deadline
        self.first = trio.CancelScope()  # around the attempt in the request's own task
        self.rest = trio.CancelScope()  # around all the others
        self.done: trio.Event | None = None  # None: there are no others yet
        self.over: Fault | None = None
        self.error: Exception | None = None

    def watch(self) -> None:
        """Begin when the deadline has passed."""
        sweeper().add(self)

    def expire(self) -> None:
        """The first attempt's time is over; called by the sweeper."""
        self.deadline = math.inf
        self.done = trio.Event()
        trio.lowlevel.spawn_system_task(self._run, self.done, name="race")

    async def _run(self, done: trio.Event) -> None:
        try:
            with self.rest, unwrapped():
                async with trio.open_nursery() as nursery:
                    self.over = await self.finish.reached(nursery)
                    nursery.cancel_scope.cancel()
        except Exception as error:  # a bug of ours: raised where the request is
            self.error = error
        finally:
            self.first.cancel()
            done.set()

    async def close(self) -> None:
        """End the others, if there are any, and see that they have ended."""
        sweeper().discard(self)
        if self.done is not None:
            self.rest.cancel()
            with trio.CancelScope(shield=True):
                await self.done.wait()
