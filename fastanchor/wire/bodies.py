"""How many bytes of request bodies this process holds, over all its connections: one bound, whoever sends them.

Rules:
- Bytes count when they have come, not when they are announced: who announces and sends nothing takes nothing away.
- A body that comes with one read (64 KiB at most) is not counted: it is bounded by the number of connections, and small
  requests go on while large ones are refused. Nor is a body that is passed on while it comes: nobody holds it.
- What a coded body grows to is held beside what it came as.
- Who does not fit is refused at once. Letting it wait would keep what has come of it, and everybody else out.
- A request gives back what it holds when its handler has ended.
"""

from __future__ import annotations

import trio

from .errors import NoRoomForBody
from .hits import hit

MOST = 512 * 1024 * 1024
ONE_READ = 64 * 1024
"""Bytes of a body that need no announcement to be taken in."""


class Bodies:
    """The bodies of one trio run. `most` bytes at one time (503); 0: no bound."""

    __slots__ = ("held", "most")

    def __init__(self) -> None:
        self.most = MOST
        self.held = 0


_bodies: trio.lowlevel.RunVar[Bodies] = trio.lowlevel.RunVar("fastanchor.wire.bodies")


def bodies() -> Bodies:
    """The bodies of this trio run."""
    try:
        return _bodies.get()
    except LookupError:
        one = Bodies()
        _bodies.set(one)
        return one


class Share:
    """What one request holds of them, in bytes."""

    __slots__ = ("_bodies", "_held")

    def __init__(self) -> None:
        self._bodies = bodies()
        self._held = 0

    def take(self, size: int, coming: int = 0) -> None:
        """Hold `size` bytes more. Raises NoRoomForBody when they, and what is announced behind them, do not fit."""
        bodies = self._bodies
        if bodies.most and bodies.held + size + coming > bodies.most:
            hit("bodies")
            raise NoRoomForBody
        bodies.held += size
        self._held += size

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._bodies.held -= self._held
        self._held = 0
