"""How many requests a channel or one of its keys is sent per minute, by the operator's word (GCRA).

Requests may come in a burst of a sixth of the minute's number; after it they are spaced evenly. A request that finds no
room is not refused here: it is told when there will be some.
"""

from __future__ import annotations

BURST = 6
"""A burst is this part of a minute's number, one request at least."""


class Rate:
    """The rate of one channel or key. Times are in seconds of one monotonic clock."""

    __slots__ = ("_full_until", "_interval", "_slack", "per_minute")

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._interval = 60.0 / per_minute
        self._slack = self._interval * (max(1, per_minute // BURST) - 1)
        self._full_until = 0.0  # the theoretical arrival time: when all that was sent would be worked off

    def usable_at(self, now: float) -> float:
        """When the next request may go: `now`, or later."""
        return max(now, self._full_until - self._slack)

    def take(self, now: float) -> None:
        """A request goes."""
        self._full_until = max(now, self._full_until) + self._interval
