"""How many requests a channel takes at once: the configured cap, lowered by what it says (AIMD).

When more than `TOLERATED` of the latest answers were a 429 or a 503, each further one cuts the limit to `CUT` of what
was in flight, at most once per `PAUSE`. Every answer raises it by one over the limit, and by `LEAST_RISE` at least:
streams take long, and a channel that has recovered must not stay small for as many of them as it once had at a time. It
never passes the cap and never falls below one.

A few refusals are no reason to ask less: a quota of tokens says nothing of how many may be asked for at once, and its
key rests anyway.

A place that has been promised to somebody in the waiting room counts as taken until that request has come for it.
"""

from __future__ import annotations

TOLERATED = 0.1
WINDOW = 32
"""Answers over which the share of refusals is averaged."""
CUT = 0.7
PAUSE = 1.0
LEAST_RISE = 0.1


class Concurrency:
    """One channel's requests in flight, and how many there may be."""

    __slots__ = ("_cut_at", "_refused", "cap", "in_flight", "limit", "promised")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.limit = float(cap)
        self.in_flight = 0
        self.promised = 0
        self._cut_at: float | None = None
        self._refused = 0.0  # share of the latest answers

    @property
    def full(self) -> bool:
        return self.in_flight + self.promised >= int(self.limit)

    def resize(self, cap: int) -> None:
        """Take over a new configured cap."""
        self.limit = float(cap) if self.limit >= self.cap else min(self.limit, float(cap))
        self.cap = cap

    def answered(self) -> None:
        """The channel answered."""
        self._refused -= self._refused / WINDOW
        self.limit = min(float(self.cap), self.limit + max(LEAST_RISE, 1.0 / self.limit))

    def refused(self, now: float) -> None:
        """The channel said that it is asked too much."""
        self._refused += (1.0 - self._refused) / WINDOW
        if self._refused <= TOLERATED:
            return
        if self._cut_at is None or now - self._cut_at >= PAUSE:
            self._cut_at = now
            self.limit = max(1.0, min(self.limit, float(self.in_flight)) * CUT)
