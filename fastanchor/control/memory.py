"""What workers have counted, kept beyond their end: a worker that is replaced takes nothing back from a counter.

What a worker that was killed had counted since the last scrape is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Dump = dict[str, Any]

TABLES = ("requests", "attempts", "tokens", "cost")  # rows of labels and a count
HISTOGRAMS = ("duration", "first_token", "overhead")  # rows of a label, bounds, counts and a sum


class Memory:
    """The counters of all workers that there were.

    Args:
        lives: whether the worker of an epoch may still answer.
    """

    def __init__(self, lives: Callable[[str], bool]) -> None:
        self._lives = lives
        self._last: dict[str, Dump] = {}  # of workers that may still answer, by their epoch
        self._ended: Dump = added([])

    def take(self, states: Iterable[Dump]) -> list[Dump]:
        """Note what workers have answered. Returns all that was ever counted, in any number of dumps."""
        for state in states:
            self._last[state["epoch"]] = state["meters"]
        for epoch in [epoch for epoch in self._last if not self._lives(epoch)]:
            self._ended = added([self._ended, self._last.pop(epoch)])
        return [*self._last.values(), self._ended]


def added(dumps: list[Dump]) -> Dump:
    """Dumps as one, with one row for each set of labels."""
    total: Dump = {name: added_counts(dump[name] for dump in dumps) for name in TABLES}
    for name in HISTOGRAMS:
        merged = added_histograms(dump[name] for dump in dumps)
        total[name] = [[label, *values] for label, values in merged.items()]
    return {**total, **{name: [[*labels, count] for labels, count in total[name].items()] for name in TABLES}}


def added_counts(tables: Iterable[list[list[Any]]]) -> dict[tuple[str, ...], int]:
    """Counts by their labels."""
    total: dict[tuple[str, ...], int] = {}
    for table in tables:
        for *labels, value in table:
            key = tuple(labels)
            total[key] = total.get(key, 0) + value
    return total


def added_histograms(tables: Iterable[list[list[Any]]]) -> dict[str, tuple[list[float], list[int], float]]:
    """(bounds, counts, sum) by their label."""
    merged: dict[str, tuple[list[float], list[int], float]] = {}
    for table in tables:
        for label, bounds, counts, total in table:
            if label in merged:
                _, before, so_far = merged[label]
                counts, total = [a + b for a, b in zip(before, counts, strict=True)], so_far + total
            merged[label] = (bounds, counts, total)
    return merged
