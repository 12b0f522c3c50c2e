"""What a second worker brings: requests per second of two workers, as a multiple of what one does.

Load and stub keep the first core in both. One worker has the second core; two workers have both, and share the first
with the rig. The rig's own need thus bounds the gain of every subject, and only the comparison says something.
"""

from __future__ import annotations

from bench.cases.case import Bench, Case, Goal, Metric, Sample, facts, fresh, ours_to_start, unsaturated
from bench.recipes import Setup
from bench.rig import Load, Window
from bench.subjects import Subject

CONNECTIONS = 64


def _workers(bench: Bench, subject: Subject) -> Sample:
    with fresh(bench, subject, Setup(workers=1)) as one:
        alone = _requests(bench, one)
    with fresh(bench, subject, Setup(workers=2), pin=False) as two:
        both = _requests(bench, two)
    return Sample(
        {"one": alone.per_second, "two": both.per_second, "gain": both.per_second / alone.per_second},
        limits=unsaturated(alone),
        facts=facts(alone, both),
    )


def _requests(bench: Bench, subject: Subject) -> Window:
    return bench.rig.measure(subject, Load(CONNECTIONS, seconds=bench.scale.seconds))


CASES = (
    Case(
        "workers",
        "requests per second, 64 connections, with one worker and with two",
        (
            Metric("one", "requests per second, one worker", "/s", more_is_better=True),
            Metric("two", "requests per second, two workers, two cores with load and stub", "/s", more_is_better=True),
            Metric("gain", "two workers to one", "×", more_is_better=True, goal=Goal(0.85, 1.0)),
        ),
        _workers,
        fits=ours_to_start,
        reference_too=True,
    ),
)
