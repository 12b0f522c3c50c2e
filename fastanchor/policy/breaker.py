"""A circuit breaker: closed, open, half-open with one probe at a time, and a slow return.

Opens after `FAILURES` failures in a row, when more than half of a full window failed, or after `FAILURES` streams in a
row that broke off after their first content. An open breaker lets one probe through when its rest is over; a good probe
closes it, a bad one doubles the rest up to `REST_LAST`, so that a provider that is down is asked rarely and one that
has recovered is found within seconds. After closing, its share grows over `RETURN_SECONDS` instead of coming back at
once.

While it is open, what older requests report changes nothing: they were sent to the channel as it was.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

FAILURES = 5
WINDOW = 20
REST_FIRST = 2.0
REST_LAST = 8.0
PROBE_LAST = 4 * REST_LAST
"""Seconds. A probe that has not reported by then is taken for lost, and the next may go."""
ASK_AGAIN = 1.0
"""Seconds until somebody who waits for a probe looks again."""
RETURN_SECONDS = 10.0
RETURN_SHARE = 0.1


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """One channel's breaker. Times are in seconds of one monotonic clock."""

    __slots__ = ("_breaks", "_in_row", "_probing_since", "_recent", "_rest", "closed_at", "open_until", "opened")

    def __init__(self) -> None:
        self.opened = 0  # how often it has opened, for metrics
        self.open_until: float | None = None
        self.closed_at: float | None = None  # None: it has never been open
        self._in_row = 0
        self._breaks = 0  # streams in a row that broke off after content
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
        return self.usable_at(now) <= now

    def usable_at(self, now: float) -> float:
        """When a request may go through: now, or at the time at which it is worth asking again."""
        if self.open_until is None:
            return now
        if now < self.open_until:
            return self.open_until
        if self._probing_since is None or now - self._probing_since >= PROBE_LAST:
            return now
        return min(now + ASK_AGAIN, self._probing_since + PROBE_LAST)

    def started(self, now: float) -> bool:
        """A request goes through. Tells whether it is a probe."""
        if self.state(now) is not State.HALF_OPEN:
            return False
        self._probing_since = now
        return True

    def succeeded(self, now: float) -> None:
        """A first content has come."""
        if self.open_until is None:
            self._in_row = 0
            self._recent.append(False)
            return
        state = self.state(now)
        if state is State.OPEN:
            return
        self._in_row = 0
        self._recent.append(False)
        if state is State.HALF_OPEN:
            self.open_until = None
            self.closed_at = now
            self._probing_since = None
            self._recent.clear()

    def completed(self) -> None:
        """An answer has come to its end."""
        self._breaks = 0
        if self.open_until is None:
            self._rest = REST_FIRST

    def failed(self, now: float) -> None:
        """A request failed without an answer, and the channel is to blame."""
        state = self.state(now)
        if state is State.OPEN:
            return
        self._in_row += 1
        self._recent.append(True)
        if state is State.HALF_OPEN or self._in_row >= FAILURES or self._mostly_failing():
            self._open(now)

    def broke(self, now: float) -> None:
        """An answer broke off after its first content, which was counted as a success: take that back."""
        if self.state(now) is State.OPEN:
            return
        self._breaks += 1
        if False in self._recent:
            self._recent.remove(False)
        self._recent.append(True)
        if self._breaks >= FAILURES or self._mostly_failing():
            self._open(now)

    def abandoned(self) -> None:
        """A request ended without telling anything about the channel (client gone, lost race, a 429)."""
        self._probing_since = None

    def share(self, now: float) -> float:
        """The part of its weight that a channel gets: grows from a tenth to one after closing."""
        if self.closed_at is None:
            return 1.0
        return min(1.0, max(RETURN_SHARE, (now - self.closed_at) / RETURN_SECONDS))

    def _open(self, now: float) -> None:
        """Rest: at first for `REST_FIRST`, twice as long each time until an answer has come to its end."""
        self.opened += self.open_until is None
        self.open_until = now + self._rest
        self._rest = min(REST_LAST, self._rest * 2)
        self._probing_since = None

    def _mostly_failing(self) -> bool:
        return len(self._recent) == WINDOW and sum(self._recent) * 2 > WINDOW
