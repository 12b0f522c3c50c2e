"""Who holds which connection: the pool's decisions, without a socket, a clock or a wait.

A caller enters with a ticket and is granted an idle connection (the one used last), or the right to open one while its
origin is under its cap, or a place at the end of the queue. Leaving hands the place, and the connection if it can be
used again, to the head of the queue. Whoever calls acts on the outcome: this class changes its own state only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

C = TypeVar("C")


@dataclass(slots=True, eq=False)
class Ticket(Generic[C]):
    """One caller's claim. `granted` without a `connection` is the right to open one."""

    origin: Hashable
    wake: Callable[[], None]
    """Called when a queued ticket is granted."""
    granted: bool = False
    connection: C | None = None


@dataclass(slots=True)
class _Place(Generic[C]):
    """One origin: how many connections are held by callers, which are idle, who waits."""

    held: int = 0
    idle: deque[tuple[float, C]] = field(default_factory=deque)  # (since, connection), oldest first
    waiting: deque[Ticket[C]] = field(default_factory=deque)


class Roster(Generic[C]):
    """The connections of all origins, at most `max_per_origin` each, idle ones for `idle_seconds` each."""

    def __init__(self, max_per_origin: int, idle_seconds: float) -> None:
        self._max = max_per_origin
        self._idle_seconds = idle_seconds
        self._places: dict[Hashable, _Place[C]] = {}

    def take(self, origin: Hashable) -> C | None:
        """An idle connection for a caller without a ticket; he is now its holder. None: come with a ticket."""
        place = self._places.get(origin)
        if place is None or not place.idle:
            return None
        place.held += 1
        return place.idle.pop()[1]

    def enter(self, ticket: Ticket[C]) -> None:
        """Grant `ticket`, or queue it."""
        place = self._places.get(ticket.origin)
        if place is None:
            place = self._places[ticket.origin] = _Place()
        if place.idle:
            ticket.connection = place.idle.pop()[1]
        elif place.held >= self._max:
            place.waiting.append(ticket)
            return
        place.held += 1
        ticket.granted = True

    def another(self, origin: Hashable) -> C | None:
        """The next idle connection for a holder whose connection turned out to be dead; None: open one."""
        idle = self._places[origin].idle
        return idle.pop()[1] if idle else None

    def leave(self, origin: Hashable, connection: C | None, now: float) -> None:
        """A holder is done, and gives back its connection, or None when it has been closed."""
        place = self._places[origin]
        if place.waiting:
            ticket = place.waiting.popleft()
            ticket.connection = connection
            ticket.granted = True
            ticket.wake()
            return
        place.held -= 1
        if connection is not None:
            place.idle.append((now, connection))
        else:
            self._forget_if_empty(origin, place)

    def withdraw(self, ticket: Ticket[C]) -> bool:
        """A caller gives up waiting. False when the ticket has been granted: then it must `leave` instead."""
        if ticket.granted:
            return False
        self._places[ticket.origin].waiting.remove(ticket)
        return True

    def expire(self, now: float) -> list[C]:
        """Take out the connections that have been idle for too long; the caller closes them."""
        expired: list[C] = []
        for origin, place in list(self._places.items()):
            while place.idle and place.idle[0][0] + self._idle_seconds <= now:
                expired.append(place.idle.popleft()[1])
            self._forget_if_empty(origin, place)
        return expired

    def take_idle(self) -> list[C]:
        """Take out every idle connection; the caller closes them."""
        taken = [connection for place in self._places.values() for _, connection in place.idle]
        for origin, place in list(self._places.items()):
            place.idle.clear()
            self._forget_if_empty(origin, place)
        return taken

    def next_expiry(self) -> float | None:
        """When the next idle connection will have been idle for too long."""
        since = [place.idle[0][0] for place in self._places.values() if place.idle]
        return min(since) + self._idle_seconds if since else None

    def counts(self, origin: Hashable) -> tuple[int, int, int]:
        """(held, idle, waiting) of one origin."""
        place = self._places.get(origin)
        return (place.held, len(place.idle), len(place.waiting)) if place else (0, 0, 0)

    def _forget_if_empty(self, origin: Hashable, place: _Place[C]) -> None:
        if not (place.held or place.idle or place.waiting):
            del self._places[origin]
