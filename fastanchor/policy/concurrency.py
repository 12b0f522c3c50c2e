"""How many requests a channel takes at once: the configured cap, lowered by what it says (AIMD).

Every 429 or 503 cuts the limit to `CUT` of what was in flight, at most once per `PAUSE`; every answer raises it by one
over the limit, so that a full limit's worth of answers raises it by one. It never passes the cap and never falls below
one.

A place that has been promised to somebody in the waiting room counts as taken until that request has come for it.
"""

from __future__ import annotations

CUT = 0.7
PAUSE = 1.0


class Concurrency:
    """One channel's requests in flight, and how many there may be."""

    __slots__ = ("_cut_at", "cap", "in_flight", "limit", "promised")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.limit = float(cap)
        self.in_flight = 0
        self.promised = 0
        self._cut_at: float | None = None

    @property
    def full(self) -> bool:
        return self.in_flight + self.promised >= int(self.limit)

    def resize(self, cap: int) -> None:
        """Take over a new configured cap."""
        self.limit = float(cap) if self.limit >= self.cap else min(self.limit, float(cap))
        self.cap = cap

    def answered(self) -> None:
        """The channel answered."""
        self.limit = min(float(self.cap), self.limit + 1.0 / self.limit)

    def refused(self, now: float) -> None:
        """The channel said that it is asked too much."""
        if self._cut_at is None or now - self._cut_at >= PAUSE:
            self._cut_at = now
            self.limit = max(1.0, min(self.limit, float(self.in_flight)) * CUT)
