"""What a gateway adds to the time to the first token and to each event, while it has LATENCY_LOAD of its core to do."""

from __future__ import annotations

from bench.cases.case import Bench, Case, Goal, Metric, Sample, facts, rig_busy
from bench.rig import Load
from bench.subjects import Subject

LATENCY_LOAD = 0.3  # of its core that the costliest gateway uses
RATES = (20.0, 2000.0)  # streams/s
STRETCH = 2.0  # windows are so much longer than others: a p99 wants many streams


def _latency(bench: Bench, subject: Subject) -> Sample:
    """Open loop at a rate that loads the costliest gateway to LATENCY_LOAD; the same rate for all."""
    bench.latency_rate = bench.latency_rate or _find_rate(bench)
    window = bench.rig.measure(subject, _open(bench.latency_rate, STRETCH * bench.scale.seconds))
    sample = Sample({"rate": bench.latency_rate}, limits=rig_busy(window), facts=facts(window))
    for name, histogram in (("ttft", "ttft"), ("delay", "event_delay")):
        for percentile in ("p50", "p99"):
            sample.values[f"{name}_{percentile}"] = window.percentile(histogram, percentile)
    return sample


def _open(rate: float, seconds: float) -> Load:
    return Load(connections=max(16, int(rate)), seconds=seconds, rate=rate, events=10, pace_ms=20)


def _find_rate(bench: Bench) -> float:
    trials = [bench.rig.measure(gateway, _open(100.0, max(0.5, bench.scale.seconds / 2))) for gateway in bench.gateways]
    dearest = max((trial.gateway_us for trial in trials), default=1e6 * LATENCY_LOAD / RATES[0])
    return min(max(LATENCY_LOAD * 1e6 / dearest, RATES[0]), RATES[1])


CASES = (
    Case(
        "latency",
        "added time to first token and delay per event, open loop, 30 % load",
        (
            Metric("ttft_p50", "added time to first token, p50", "µs", added=True, goal=Goal(3, 2)),
            Metric("ttft_p99", "added time to first token, p99", "µs", added=True, goal=Goal(3, 2)),
            Metric("delay_p50", "added delay per event, p50", "µs", added=True),
            Metric("delay_p99", "added delay per event, p99", "µs", added=True),
            Metric("rate", "streams begun per second for these", "/s", ratio=False),
        ),
        _latency,
    ),
)
