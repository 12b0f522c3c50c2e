"""Budgets that keep extra attempts a small share of the work: retries per channel, hedges per route.

A token bucket that is filled by work and not by time: each ordinary request deposits a share, each extra attempt
costs one whole token. A floor lets the first few through when there is no history, and is refilled slowly by time, so
that a quiet channel is not without retries for ever.
"""

from __future__ import annotations

RETRY_SHARE = 0.2
FLOOR = 3.0
FLOOR_PER_SECOND = 0.1
MOST = 100.0


class Budget:
    """Tokens for extra attempts. Times are in seconds of one monotonic clock."""

    __slots__ = ("_at", "share", "tokens")

    def __init__(self, share: float = RETRY_SHARE) -> None:
        self.share = share
        self.tokens = FLOOR
        self._at: float | None = None  # of the last spending

    def deposit(self) -> None:
        """An ordinary request."""
        self.tokens = min(MOST, self.tokens + self.share)

    def has(self, now: float) -> bool:
        """Whether an extra attempt could be paid for."""
        return self._refilled(now) >= 1.0

    def take(self, now: float) -> bool:
        """Spend a token on an extra attempt, if there is one."""
        self.tokens = self._refilled(now)
        self._at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def _refilled(self, now: float) -> float:
        if self._at is None or self.tokens >= FLOOR:
            return self.tokens
        return min(FLOOR, self.tokens + max(0.0, now - self._at) * FLOOR_PER_SECOND)
