"""Counters of one worker: plain numbers in dictionaries, added up by the scrape and never by the hot path.

Labels are bounded: a model name is counted under its own name only while the configuration names it; every other name
is "other", so that no client can grow the page.
"""

from __future__ import annotations

from typing import Any

from fastanchor._speedups.tally import Histogram
from fastanchor.core.receipt import Receipt

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 420, 600)
FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30)
OVERHEAD_BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1)


class Series:
    """The counters of requests that agree in endpoint, model, provider and status."""

    __slots__ = ("cached", "cost", "duration", "first_token", "input", "output", "requests")

    def __init__(self) -> None:
        self.requests = self.input = self.output = self.cached = self.cost = 0
        self.duration = Histogram(DURATION_BUCKETS)
        self.first_token = Histogram(FIRST_TOKEN_BUCKETS)


class Meters:
    """Everything a worker counts. `dump` is what crosses to the control process, as JSON."""

    def __init__(self, models: frozenset[str]) -> None:
        self.models = models
        self.series: dict[tuple[str, str, str, int], Series] = {}  # endpoint, model, provider, status
        self.attempts: dict[tuple[str, str], int] = {}  # channel, outcome
        self.overhead = Histogram(OVERHEAD_BUCKETS)
        self.in_flight = 0

    def count(self, receipt: Receipt) -> None:
        """Add one finished request."""
        model = receipt.model if receipt.model in self.models else "other"
        key = (receipt.endpoint, model, receipt.provider, receipt.status)
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series()
        usage = receipt.usage
        series.requests += 1
        series.input += usage.input or 0
        series.output += usage.output or 0
        series.cached += usage.cache_read
        series.cost += receipt.cost
        series.duration.observe(receipt.seconds)
        if receipt.first_token is not None:
            series.first_token.observe(receipt.first_token)
        self.overhead.observe(receipt.overhead)
        attempts = self.attempts
        for attempt in receipt.attempts:
            told = (attempt.channel, attempt.outcome)
            attempts[told] = attempts.get(told, 0) + 1

    def dump(self) -> dict[str, Any]:
        """Plain lists of [labels…, value], for JSON. Labels may repeat: whoever reads adds up."""
        rows = list(self.series.items())
        tokens = [
            [model, kind, getattr(s, name)]
            for (_, model, _, _), s in rows
            for kind, name in (("input", "input"), ("output", "output"), ("cache_read", "cached"))
        ]
        return {
            "requests": [[*labels, str(status), s.requests] for (*labels, status), s in rows],
            "attempts": [[*labels, n] for labels, n in self.attempts.items()],
            "tokens": [row for row in tokens if row[2]],
            "cost": [[model, s.cost] for (_, model, _, _), s in rows if s.cost],
            "duration": [[endpoint, *_lines(s.duration)] for (endpoint, _, _, _), s in rows],
            "first_token": [[provider, *_lines(s.first_token)] for (_, _, provider, _), s in rows if provider],
            "overhead": [["", *_lines(self.overhead)]],
            "in_flight": self.in_flight,
        }


def _lines(histogram: Histogram) -> tuple[tuple[float, ...], list[int], float]:
    return histogram.bounds, histogram.counts, histogram.total
