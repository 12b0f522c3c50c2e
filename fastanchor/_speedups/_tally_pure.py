"""The pure twin of `_tally`: counts by upper bound, and sums."""

from __future__ import annotations

from bisect import bisect_left


class Histogram:
    """Counts by upper bound, and the sum. The last count is for everything above."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
