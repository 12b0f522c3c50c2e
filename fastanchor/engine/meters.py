"""Counters of one worker: plain numbers in dictionaries, added up by the scrape and never by the hot path.

Labels are bounded: a model name is counted under its own name only while the configuration names it; every other name
is "other", so that no client can grow the page.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from fastanchor.core.receipt import Receipt

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 420, 600)
FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30)
OVERHEAD_BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1)


class Histogram:
    """Counts by upper bound, and the sum. The last count is for everything above."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Meters:
    """Everything a worker counts. `dump` is what crosses to the control process, as JSON."""

    def __init__(self, models: frozenset[str]) -> None:
        self.models = models
        self.requests: dict[tuple[str, str, str, str], int] = {}  # endpoint, model, provider, status
        self.attempts: dict[tuple[str, str], int] = {}  # channel, outcome
        self.tokens: dict[tuple[str, str], int] = {}  # model, type
        self.cost: dict[str, int] = {}  # model → micro-dollars
        self.duration: dict[str, Histogram] = {}  # endpoint
        self.first_token: dict[str, Histogram] = {}  # provider
        self.overhead = Histogram(OVERHEAD_BUCKETS)
        self.in_flight = 0

    def count(self, receipt: Receipt) -> None:
        """Add one finished request."""
        model = receipt.model if receipt.model in self.models else "other"
        _add(self.requests, (receipt.endpoint, model, receipt.provider, str(receipt.status)), 1)
        for attempt in receipt.attempts:
            _add(self.attempts, (attempt.channel, attempt.outcome), 1)
        usage = receipt.usage
        for kind, tokens in (("input", usage.input), ("output", usage.output), ("cache_read", usage.cache_read)):
            if tokens:
                _add(self.tokens, (model, kind), tokens)
        if receipt.cost:
            _add(self.cost, model, receipt.cost)
        _observe(self.duration, receipt.endpoint, DURATION_BUCKETS, receipt.seconds)
        if receipt.first_token is not None:
            _observe(self.first_token, receipt.provider, FIRST_TOKEN_BUCKETS, receipt.first_token)
        self.overhead.observe(receipt.overhead)

    def dump(self) -> dict[str, Any]:
        """Plain lists of [labels…, value], for JSON."""
        return {
            "requests": [[*labels, n] for labels, n in self.requests.items()],
            "attempts": [[*labels, n] for labels, n in self.attempts.items()],
            "tokens": [[*labels, n] for labels, n in self.tokens.items()],
            "cost": [[model, n] for model, n in self.cost.items()],
            "duration": [[label, *_lines(h)] for label, h in self.duration.items()],
            "first_token": [[label, *_lines(h)] for label, h in self.first_token.items()],
            "overhead": [["", *_lines(self.overhead)]],
            "in_flight": self.in_flight,
        }


def _lines(histogram: Histogram) -> tuple[tuple[float, ...], list[int], float]:
    return histogram.bounds, histogram.counts, histogram.total


def _add(table: dict[Any, int], key: object, value: int) -> None:
    table[key] = table.get(key, 0) + value


def _observe(table: dict[str, Histogram], key: str, bounds: tuple[float, ...], value: float) -> None:
    histogram = table.get(key)
    if histogram is None:
        histogram = table[key] = Histogram(bounds)
    histogram.observe(value)
