"""How long a channel takes to its first token: a peak-sensitive average and the recent percentiles.

The average follows a rise at once and forgets it over `DECAY` seconds (peak-EWMA, as Finagle has it): one slow answer
is enough to send others elsewhere. Percentiles come from the last `KEPT` samples.
"""

from __future__ import annotations

import math

DECAY = 10.0
KEPT = 200
MIN_SAMPLES = 20
UNKNOWN = 0.5
"""Seconds assumed of a channel that nobody has measured."""


class Latency:
    """Time to first token of one channel, in seconds."""

    __slots__ = ("_at", "_average", "_samples", "_sorted")

    def __init__(self) -> None:
        self._average = 0.0
        self._at = 0.0
        self._samples: list[float] = []
        self._sorted: list[float] | None = None

    def observe(self, seconds: float, now: float) -> None:
        """One answer's first token came after `seconds`."""
        if seconds > self._average:
            self._average = seconds
        else:
            keep = math.exp(-(now - self._at) / DECAY)
            self._average = self._average * keep + seconds * (1.0 - keep)
        self._at = now
        if len(self._samples) >= KEPT:
            del self._samples[: KEPT // 2]
        self._samples.append(seconds)
        self._sorted = None

    @property
    def average(self) -> float:
        """The peak-sensitive average, `UNKNOWN` before the first sample."""
        return self._average if self._samples else UNKNOWN

    def percentile(self, share: float) -> float | None:
        """The value that `share` (0…1) of recent answers stayed below; None with too few samples."""
        if len(self._samples) < MIN_SAMPLES:
            return None
        if self._sorted is None:
            self._sorted = sorted(self._samples)
        return self._sorted[min(len(self._sorted) - 1, int(share * len(self._sorted)))]
