"""Memory of all processes: at rest after a first request, and with many streams open that hardly speak."""

from __future__ import annotations

import time

from bench import procs
from bench.cases.case import Bench, Case, Goal, Metric, Sample, fresh, ours_to_start
from bench.rig import Load
from bench.subjects import Subject

PACE_MS = 5000
CROWD = Goal(300, 200, ratio=False)
SETTLE = 0.5  # seconds before memory is read


def _memory(bench: Bench, subject: Subject) -> Sample:
    """PSS at rest, its slope between few and many streams, and all of it with the many."""
    few, many = bench.scale.idle_streams
    with fresh(bench, subject) as gateway:
        assert gateway.pid is not None
        rest = _settled(gateway.pid)
        with bench.rig.held(gateway, _idle(few)):
            first = _settled(gateway.pid)
            with bench.rig.held(gateway, _idle(many - few)):
                last = _settled(gateway.pid)
    return Sample(
        {
            "rest": rest.pss / 2**20,
            "rest_rss": rest.rss / 2**20,
            "stream": (last.pss - first.pss) / (many - few) / 1024,
            "crowd": last.pss / 2**20,
        },
        facts={"processes": rest.processes, "pss": [rest.pss, first.pss, last.pss], "streams": [0, few, many]},
    )


def _idle(streams: int) -> Load:
    return Load(streams, events=1000, pace_ms=PACE_MS, warm=0)


def _settled(pid: int) -> procs.TreeMemory:
    time.sleep(SETTLE)
    return procs.tree_memory(pid)


CASES = (
    Case(
        "memory",
        "at rest, per open idle stream, and with 9,000 streams of one event per 5 s",
        (
            Metric("stream", "memory per open idle stream (PSS)", "KB", goal=Goal(24, 12, ratio=False)),
            Metric("rest", "memory at rest, one worker, all processes (PSS)", "MB", goal=Goal(60, 45, ratio=False)),
            Metric("rest_rss", "memory at rest, one worker, all processes (RSS)", "MB"),
            Metric("crowd", "memory with 9,000 idle streams, all processes (PSS)", "MB", goal=CROWD),
        ),
        _memory,
        fits=ours_to_start,
        rounds=2,
    ),
)
