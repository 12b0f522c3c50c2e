"""How many bytes of request bodies this process holds, over all its connections: one bound, whoever sends them.

Rules:
- Bytes count when they have come, not when they are announced: who announces and sends nothing takes nothing away.
- A body that comes with one read (64 KiB at most) is not counted: it is bounded by the number of connections, and small
  requests go on while large ones are refused. Nor is a body that is passed on while it comes: nobody holds it.
- What a coded body grows to is held beside what it came as.
- Who does not fit is refused at once. Letting it wait would keep what has come of it, and everybody else out.
- A request gives back what it holds when its handler has ended.
- Who looks at a large body holds everybody up meanwhile. So large ones have turns, with time for others between them.
"""

from __future__ import annotations

import trio

from .errors import NoRoomForBody
from .hits import hit

MOST = 512 * 1024 * 1024
ONE_READ = 64 * 1024
"""Bytes of a body that need no announcement to be taken in."""


LARGE = 4 * 1024 * 1024
"""Bytes of a body that has to wait for its turn."""
LOOKED_AT = 300e6
"""Bytes in a second that are parsed, checked and copied; a careful guess."""


class Bodies:
    """The bodies of one trio run. `most` bytes at one time (503); 0: no bound."""

    __slots__ = ("_free_at", "held", "most")

    def __init__(self) -> None:
        self.most = MOST
        self.held = 0
        self._free_at = 0.0

    async def turn(self, size: int) -> None:
        """Wait until a body of `size` bytes may be looked at, if it is large: half of the time belongs to others."""
        if size >= LARGE:
            at = max(trio.current_time(), self._free_at)
            self._free_at = at + 2 * size / LOOKED_AT
            await trio.sleep_until(at)


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
