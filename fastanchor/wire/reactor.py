"""The reactor of a trio run: one system task waits for its descriptor, and no socket of ours is known to trio's epoll.

Events are drained in the same pass of trio's loop that they end the sleep of, before any task runs (an instrument does
it), so that those who are woken run at once. The task only keeps the descriptor armed in trio's epoll, and drains
itself when the instrument has not: trio puts an instrument away when it fails.

Where streams are carried by the reactor itself (`pump`), a turn of trio's loop costs as much as one of their events. So
while no task is runnable and no deadline near, the reactor lingers a little for more of them before the loop polls.
"""

from __future__ import annotations

import contextlib

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_readable, wait_task_rescheduled

from fastanchor._speedups.reactor import Loop, Reactor

LINGER = 0.002  # seconds within which `Reactor.linger` comes back

LOOP: Loop[Task] = Loop(current_task, reschedule, wait_task_rescheduled, Abort.SUCCEEDED, trio.ClosedResourceError)


class _Lingerer(trio.abc.Instrument):
    def __init__(self, reactor: Reactor[Task]) -> None:
        self._reactor = reactor

    def before_io_wait(self, timeout: float) -> None:
        if timeout >= LINGER and self._reactor.flowing:
            self._reactor.linger()


class _Drainer(trio.abc.Instrument):
    def __init__(self, reactor: Reactor[Task]) -> None:
        self._reactor = reactor
        self._drained = False
        self._lingerer = _Lingerer(reactor)
        self._lingers = False  # it is a call in every turn, so only where something has flowed

    def after_io_wait(self, timeout: float) -> None:
        self._drained = False
        self._reactor.drain()
        if not self._lingers and self._reactor.flowing:
            self._lingers = True
            trio.lowlevel.add_instrument(self._lingerer)
        self._drained = True

    async def run(self) -> None:
        trio.lowlevel.add_instrument(self)
        try:
            while True:
                await wait_readable(self._reactor.fileno())
                if not self._drained:
                    self._reactor.drain()
        finally:
            for instrument in (self, self._lingerer):
                with contextlib.suppress(KeyError):  # it has been put away, or never was there
                    trio.lowlevel.remove_instrument(instrument)
            self._reactor.close()


_reactor: trio.lowlevel.RunVar[Reactor[Task]] = trio.lowlevel.RunVar("fastanchor.wire.reactor")


def reactor() -> Reactor[Task]:
    """The reactor of this trio run, started with its first use."""
    try:
        return _reactor.get()
    except LookupError:
        one: Reactor[Task] = Reactor(LOOP)
        _reactor.set(one)
        trio.lowlevel.spawn_system_task(_Drainer(one).run, name="wire.reactor")
        return one
