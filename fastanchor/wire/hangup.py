"""Clients that leave, noticed while nobody reads from them.

A handler that waits for an upstream does not read its client's socket, so trio cannot tell it that the client is gone.
One inner epoll per process knows: client sockets are registered once, edge-triggered, for hang-ups only, and one task
waits for the epoll descriptor itself. A descriptor is taken out before it is closed, and between the poll and the calls
that follow it nothing else runs, so a number that the kernel has given out again is never mistaken for its old owner.
"""

from __future__ import annotations

import select
from typing import Protocol

import trio

FULL = select.EPOLLHUP | select.EPOLLERR
EVENTS = select.EPOLLRDHUP | FULL | select.EPOLLET
BATCH = 1024


class Leaver(Protocol):
    """Somebody whose peer may leave."""

    def hung_up(self, *, full: bool) -> None:
        """The peer ended its sending side, or (`full`) both: it closed or reset the connection."""


class HangupWatch:
    """The inner epoll of one trio run; `hangup_watch()` finds it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._leavers: dict[int, Leaver] = {}

    def add(self, fd: int, leaver: Leaver) -> None:
        """Tell `leaver` when the peer of `fd` hangs up; also if it already has."""
        self._leavers[fd] = leaver
        self._epoll.register(fd, EVENTS)

    def remove(self, fd: int) -> None:
        """Before `fd` is closed."""
        if self._leavers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def run(self) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, events in self._epoll.poll(0, BATCH):
                    if fd in self._leavers:
                        self._leavers[fd].hung_up(full=bool(events & FULL))
        finally:
            self._epoll.close()


_watch: trio.lowlevel.RunVar[HangupWatch] = trio.lowlevel.RunVar("fastanchor.wire.hangup_watch")


def hangup_watch() -> HangupWatch:
    """The watch of this trio run, started with its first use."""
    try:
        return _watch.get()
    except LookupError:
        one = HangupWatch()
        _watch.set(one)
        trio.lowlevel.spawn_system_task(one.run, name="wire.hangup_watch")
        return one
