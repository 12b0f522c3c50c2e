"""What the key check, the limits and the reservation cost on each request: beside the same gateway that asks nobody.

Windows with and without take turns, and the least of each counts: the difference is a few microseconds.
"""

from __future__ import annotations

from bench.cases.case import Bench, Case, Goal, Metric, Sample, facts, fresh
from bench.recipes import Setup
from bench.rig import Load
from bench.subjects import Subject

TURNS = 3


def _books(bench: Bench, subject: Subject) -> Sample:
    load = Load(seconds=bench.scale.seconds / 2)
    with fresh(bench, subject) as strict, fresh(bench, subject, Setup(auth=False)) as lenient:
        turns = [(bench.rig.measure(strict, load), bench.rig.measure(lenient, load)) for _ in range(TURNS)]
    asked, free = (min(window.gateway_us for window in windows) for windows in zip(*turns, strict=True))
    return Sample(
        {"with": asked, "without": free, "books": asked - free},
        facts=facts(*(window for turn in turns for window in turn)),
    )


def _has_books(subject: Subject) -> bool:
    return subject.name == "fastanchor"


CASES = (
    Case(
        "books",
        "CPU per request with key check and limits, and of an open instance without",
        (
            Metric("with", "CPU per plain request with key and limits", "µs", ratio=False),
            Metric("without", "CPU per plain request, open instance", "µs", ratio=False),
            Metric("books", "key check and limits, CPU per request", "µs", ratio=False, goal=Goal(8, 8, ratio=False)),
        ),
        _books,
        fits=_has_books,
    ),
)
