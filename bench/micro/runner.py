"""Runs a table of micro-benchmarks on both halves of the compiled modules, in turn, and shows the medians.

An entry names a module of `fastanchor._speedups` and turns one half of it into a call without arguments. Halves that
are not built are shown as missing; they are never skipped in silence.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from time import perf_counter_ns
from typing import Any

REPEATS = 7


@dataclass(frozen=True)
class Entry:
    """`prepare` gets a half (a module) and returns what is timed; `size` is the bytes that one call handles."""

    module: str
    title: str
    prepare: Callable[[Any], Callable[[], object]]
    size: int = 0


@dataclass(frozen=True)
class Result:
    """Nanoseconds per call; None where the half does not exist."""

    entry: Entry
    compiled: float | None
    pure: float | None


def run(entries: Sequence[Entry], only: str = "", seconds: float = 0.5) -> list[Result]:
    """Times every entry whose module or title contains `only`, `seconds` for each half."""
    return [_result(entry, seconds) for entry in entries if only in f"{entry.module} {entry.title}"]


def table(results: Sequence[Result]) -> str:
    """The results as plain text."""
    width = max([len(_label(result.entry)) for result in results], default=0)
    lines = [f"{'':{width}} {'compiled':>12} {'pure':>12} {'gain':>8} {'compiled':>12}"]
    for result in results:
        compiled, pure, size = result.compiled, result.pure, result.entry.size
        gain = f"{pure / compiled:.1f}×" if compiled and pure else ""
        speed = f"{size / compiled:.2f} GB/s" if compiled and size else ""
        lines.append(f"{_label(result.entry):{width}} {_ns(compiled):>12} {_ns(pure):>12} {gain:>8} {speed:>12}")
    return "\n".join(lines)


def _result(entry: Entry, seconds: float) -> Result:
    calls = {}
    for half in (f"_{entry.module}", f"_{entry.module}_pure"):
        name = f"fastanchor._speedups.{half}"
        if find_spec(name) is not None:
            calls[half] = entry.prepare(import_module(name))
    times = _times(calls, seconds)
    return Result(entry, times.get(f"_{entry.module}"), times.get(f"_{entry.module}_pure"))


def _times(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median ns per call of REPEATS slices for each half, the halves taking turns."""
    counts = {half: _count(call, seconds / REPEATS) for half, call in calls.items()}
    slices: dict[str, list[float]] = {half: [] for half in calls}
    for _ in range(REPEATS):
        for half, call in calls.items():
            slices[half].append(_slice(call, counts[half]) / counts[half])
    return {half: median(measured) for half, measured in slices.items()}


def _count(call: Callable[[], object], seconds: float) -> int:
    count = 1
    while (taken := _slice(call, count)) < seconds * 1e8:  # a tenth of the slice is enough to judge by
        count *= 4
    return max(1, int(count * seconds * 1e9 / taken))


def _slice(call: Callable[[], object], count: int) -> int:
    gc.disable()
    try:
        begun = perf_counter_ns()
        for _ in range(count):
            call()
        return perf_counter_ns() - begun
    finally:
        gc.enable()


def _label(entry: Entry) -> str:
    return f"{entry.module}: {entry.title}"


def _ns(value: float | None) -> str:
    if value is None:
        return "missing"
    return f"{value:,.0f} ns" if value < 1e5 else f"{value / 1e3:,.0f} µs"
