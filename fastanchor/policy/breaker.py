"""A circuit breaker: closed, open, half-open with one probe at a time, and a slow return.

Opens after `FAILURES` failures in a row, or when more than half of a full window failed. An open breaker lets one
probe through when its rest is over; a good probe closes it, a bad one doubles the rest up to `REST_LAST`, so that a
provider that is down is asked rarely and one that has recovered is found within seconds. After closing, its share
grows over `RETURN_SECONDS` instead of coming back at once.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

FAILURES = 5
WINDOW = 20
REST_FIRST = 2.0
REST_LAST = 8.0
RETURN_SECONDS = 10.0


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """One channel's (or key's) breaker. Times are in seconds of one monotonic clock."""

    __slots__ = ("_in_row", "_probing_since", "_recent", "_rest", "closed_at", "open_until", "opened")

    def __init__(self) -> None:
        self.opened = 0  # how often it has opened, for metrics
        self.open_until: float | None = None
        self.closed_at = -RETURN_SECONDS
        self._in_row = 0
        self._rest = REST_FIRST
        self._probing_since: float | None = None
        self._recent: deque[bool] = deque(maxlen=WINDOW)  # True for a failure

    def state(self, now: float) -> State:
        """Where it stands."""
        if self.open_until is None:
            return State.CLOSED
        return State.HALF_OPEN if now >= self.open_until else State.OPEN

    def allows(self, now: float) -> bool:
        """Whether a request may go through now (when half-open: as its one probe)."""
        state = self.state(now)
        return state is State.CLOSED or (state is State.HALF_OPEN and not self.probing(now))

    def probing(self, now: float) -> bool:
        """Whether a probe is under way. A probe that never reported counts as lost after the longest rest."""
        return self._probing_since is not None and now - self._probing_since < 4 * REST_LAST

    def started(self, now: float) -> None:
        """A request goes through."""
        if self.state(now) is State.HALF_OPEN:
            self._probing_since = now

    def succeeded(self, now: float) -> None:
        """It answered."""
        self._in_row = 0
        self._recent.append(False)
        if self.open_until is not None:
            self.open_until = None
            self.closed_at = now
            self._recent.clear()
        self._probing_since = None
        self._rest = REST_FIRST

    def failed(self, now: float) -> None:
        """It failed, and the channel is to blame."""
        self._in_row += 1
        self._recent.append(True)
        if self.open_until is not None:
            self._rest = min(REST_LAST, self._rest * 2)
            self._open(now)
        elif self._in_row >= FAILURES or self._mostly_failing():
            self._open(now)

    def abandoned(self) -> None:
        """It ended without telling anything about the channel (client gone, lost race, a 429)."""
        self._probing_since = None

    def share(self, now: float) -> float:
        """The part of its weight that a channel gets: grows from a tenth to one after closing."""
        return min(1.0, max(0.1, (now - self.closed_at) / RETURN_SECONDS))

    def _open(self, now: float) -> None:
        if self.open_until is None:
            self.opened += 1
        self.open_until = now + self._rest
        self._probing_since = None

    def _mostly_failing(self) -> bool:
        return len(self._recent) == WINDOW and sum(self._recent) * 2 > WINDOW
