"""The waiting room: requests for channels that are all at capacity, fair across customers.

Organisations take turns, each with its own queue, so that one customer's burst does not starve the others. A place that
becomes free is offered to the next organisation whose first waiter for that channel it is.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Ticket:
    """One waiter: who it waits for, which channels it could use, and how it is called (with the channel's name)."""

    organization: str
    channels: frozenset[str]
    call: Callable[[str], None]


class Room:
    """All waiters of one worker."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Ticket]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def __bool__(self) -> bool:
        return bool(self._queues)

    def enter(self, ticket: Ticket) -> None:
        """Take a place at the end of the organisation's queue."""
        self._queues.setdefault(ticket.organization, deque()).append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Give up (or having been called: nothing)."""
        queue = self._queues.get(ticket.organization)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            if not queue:
                del self._queues[ticket.organization]

    def freed(self, channel: str) -> bool:
        """A place at this channel is free: call the next waiter that can use it; its organisation goes to the end.
        Tells whether there was one."""
        for organization, queue in self._queues.items():
            ticket = next((t for t in queue if channel in t.channels), None)
            if ticket is not None:
                self._queues.move_to_end(organization)
                self.leave(ticket)
                ticket.call(channel)
                return True
        return False
