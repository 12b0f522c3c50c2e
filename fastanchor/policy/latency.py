"""How long a channel takes to its first token: a peak-sensitive average and the recent percentiles.

The average follows a rise at once and forgets it over `DECAY` seconds of other samples (peak-EWMA, as Finagle has it):
one slow answer is enough to send others elsewhere. Without samples it fades over `FADE` seconds, so that a channel
which nobody chooses any more is tried again some time. Percentiles come from the last `KEPT` samples.
"""

from __future__ import annotations

import math
from bisect import insort

DECAY = 10.0
FADE = 60.0
KEPT = 200
MIN_SAMPLES = 20
UNKNOWN = 0.1
"""Seconds assumed of a channel that nobody has measured: little, so that it is measured soon."""


class Latency:
    """Time to first token of one channel, in seconds."""

    __slots__ = ("_at", "_average", "_samples", "_sorted")

    def __init__(self) -> None:
        self._average = 0.0
        self._at = 0.0
        self._samples: list[float] = []  # as they came
        self._sorted: list[float] = []

    @property
    def count(self) -> int:
        """How many recent samples there are."""
        return len(self._samples)

    def observe(self, seconds: float, now: float) -> None:
        """One answer's first token came after `seconds` (or had not come by then)."""
        if seconds > self._average:
            self._average = seconds
        else:
            keep = math.exp(-(now - self._at) / DECAY)
            self._average = self._average * keep + seconds * (1.0 - keep)
        self._at = now
        if len(self._samples) >= KEPT:
            del self._samples[: KEPT // 2]
            self._sorted = sorted(self._samples)
        self._samples.append(seconds)
        insort(self._sorted, seconds)

    def average(self, now: float) -> float:
        """The peak-sensitive average, `UNKNOWN` before the first sample."""
        if not self._samples:
            return UNKNOWN
        silent = now - self._at
        return self._average if silent < DECAY else self._average * math.exp((DECAY - silent) / FADE)

    def percentile(self, share: float) -> float | None:
        """The value that `share` (0…1) of recent answers did not pass; None with too few samples."""
        if len(self._samples) < MIN_SAMPLES:
            return None
        return self._sorted[max(0, math.ceil(share * len(self._sorted)) - 1)]
