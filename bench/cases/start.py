"""From exec to the first 200 to a real request, on all cores, as a user would start it."""

from __future__ import annotations

from bench.cases.case import Bench, Case, Goal, Metric, Sample, fresh, ours_to_start
from bench.subjects import Subject


def _start(bench: Bench, subject: Subject) -> Sample:
    with fresh(bench, subject, pin=False) as gateway:
        return Sample({"start": gateway.started_in * 1e3})


CASES = (
    Case(
        "start",
        "from exec to the first answer",
        (Metric("start", "start to first answer", "ms", goal=Goal(400, 250, ratio=False)),),
        _start,
        fits=ours_to_start,
    ),
)
