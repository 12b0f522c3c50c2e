"""Many paced streams on one worker: every event in order, none lost, doubled or mixed up, none too late.

The load generator checks each event; a window with one wrong is refused. The streams open over a while, as clients
come; all of them are open together before the first one ends.
"""

from __future__ import annotations

from bench.cases.case import Bench, Case, Goal, Metric, Sample, facts, fresh, rig_busy
from bench.rig import Load, Refused
from bench.subjects import Subject


def _crowd(bench: Bench, subject: Subject) -> Sample:
    scale = bench.scale
    load = Load(
        scale.held_streams,
        scale.held_streams,
        rate=scale.held_streams / scale.held_ramp,
        events=scale.held_events,
        pace_ms=scale.held_pace_ms,
        warm=1,
    )
    if subject.recipe is None:
        window = bench.rig.measure(subject, load)
    else:  # a new one: its connections to the stub go with it
        with fresh(bench, subject) as gateway:
            window = bench.rig.measure(gateway, load)
    together = int(window.seen["most"])
    if together < 0.99 * scale.held_streams:
        raise Refused(f"only {together} of {scale.held_streams} streams were open together")
    return Sample(
        {
            "streams": together,
            "late": int(window.seen["late_events"]),
            "delay_p99": window.percentile("event_delay", "p99"),
            "delay_max": window.percentile("event_delay", "max"),
        },
        limits=rig_busy(window),
        facts=facts(window),
    )


CASES = (
    Case(
        "crowd",
        "5,000 streams at once, one event per 250 ms each",
        (
            Metric("streams", "paced streams at once, none lost or mixed up", "", more_is_better=True, ratio=False),
            Metric("late", "events over 250 ms late", "", ratio=False, goal=Goal(0, 0, ratio=False)),
            Metric("delay_p99", "delay per event with so many, p99", "µs", ratio=False),
            Metric("delay_max", "delay per event with so many, greatest", "µs", ratio=False),
        ),
        _crowd,
        rounds=2,
    ),
)
