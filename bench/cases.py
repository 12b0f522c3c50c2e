"""The table of cases: what is measured, in which unit, and when the rig must not be believed.

A case measures one subject once and returns a `Sample`. `Sample.limits` are the reasons why its numbers say more about
the rig than about the subject; `throughput` is kept where the direct connection must be clearly faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from bench import procs
from bench.rig import Load, Refused, Rig, Window
from bench.subjects import Subject, launch

RIG_SHARE = 1 / 3  # of the gateway's CPU per request that load and stub may need, in a closed loop
RIG_BUSY = 0.7  # of its core that the rig may use where the pace is given
SATURATED = 0.9  # of its core that the gateway must use where it is to be the bottleneck
LATENCY_LOAD = 0.3  # of its core that the costliest gateway uses while latency is measured
LATENCY_RATES = (20.0, 2000.0)  # streams/s
SETTLE = 0.5  # seconds before memory is read


@dataclass(frozen=True)
class Scale:
    """How large the cases are. Times in seconds."""

    seconds: float = 2.0
    paced_streams: int = 400
    paced_pace_ms: int = 20
    paced_events: tuple[int, int] = (25, 100)
    held_streams: int = 1000
    held_events: int = 40
    held_pace_ms: int = 50
    idle_streams: int = 500

    @classmethod
    def quick(cls) -> Scale:
        """A few seconds over everything: for a smoke test, not for numbers."""
        return cls(
            seconds=0.2, paced_streams=40, paced_events=(5, 15), held_streams=100, held_events=5, idle_streams=50
        )


@dataclass(frozen=True)
class Metric:
    """One row of the report. `added` rows have the direct connection's value taken off before the ratio is made."""

    key: str
    title: str
    unit: str
    more_is_better: bool = False
    added: bool = False
    ratio: bool = True


@dataclass
class Sample:
    """What one measurement of one subject gave."""

    values: dict[str, float]
    limits: list[str] = field(default_factory=list)
    throughput: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Bench:
    """What the cases need of a run; `latency_rate` is found by the first of them that asks."""

    rig: Rig
    scale: Scale
    gateways: list[Subject]
    latency_rate: float = 0.0


@dataclass(frozen=True)
class Case:
    """`fresh` cases start the subject anew (so only what this program starts); at most `rounds` rounds are made.

    `reference_too`: a ratio also falls when the reference's own sample has limits (it was not the bottleneck either).
    """

    name: str
    metrics: tuple[Metric, ...]
    measure: Callable[[Bench, Subject], Sample]
    fresh: bool = False
    reference_too: bool = False
    rounds: int = 1000


def _facts(*windows: Window) -> dict[str, Any]:
    return {
        "windows": [
            {
                **window.seen,
                "gateway_ns": window.gateway_ns,
                "load_ns": window.load_ns,
                "stub_ns": window.stub_ns,
                "wall": window.wall,
            }
            for window in windows
        ],
        "foreign": max(window.foreign for window in windows),
        "steal": max(window.steal for window in windows),
    }


def _busy(window: Window) -> list[str]:
    if window.rig_busy <= RIG_BUSY:
        return []
    return [f"load and stub used {window.rig_busy:.0%} of their core"]


def _closed(load: Load) -> Callable[[Bench, Subject], Sample]:
    """CPU per request in a closed loop."""

    def measure(bench: Bench, subject: Subject) -> Sample:
        window = bench.rig.measure(subject, replace(load, seconds=bench.scale.seconds))
        sample = Sample({"rig": window.rig_us}, throughput=window.per_second, facts=_facts(window))
        if subject.pid is not None:
            sample.values["cpu"] = window.gateway_us
            if window.rig_us > window.gateway_us * RIG_SHARE:
                sample.limits.append(f"load and stub needed {window.rig_us:.1f} µs beside {window.gateway_us:.1f} µs")
        return sample

    return measure


def _paced(provider: str = "") -> Callable[[Bench, Subject], Sample]:
    """CPU per event: the slope of CPU over the length of streams, so that the cost of a request drops out."""

    def measure(bench: Bench, subject: Subject) -> Sample:
        scale = bench.scale
        load = Load(scale.paced_streams, scale.paced_streams, pace_ms=scale.paced_pace_ms, provider=provider)
        short, long = (bench.rig.measure(subject, replace(load, events=events)) for events in scale.paced_events)
        events = long.events - short.events
        sample = Sample(
            {"rig": (long.load_ns + long.stub_ns - short.load_ns - short.stub_ns) / events / 1e3},
            limits=_busy(long),
            facts=_facts(short, long),
        )
        if subject.pid is not None:
            sample.values["cpu"] = (long.gateway_ns - short.gateway_ns) / events / 1e3
        return sample

    return measure


def _latency(bench: Bench, subject: Subject) -> Sample:
    """Open loop at a rate that loads the costliest gateway to LATENCY_LOAD; the same rate for all."""
    bench.latency_rate = bench.latency_rate or _find_rate(bench)
    window = bench.rig.measure(subject, _open(bench.latency_rate, bench.scale.seconds))
    sample = Sample({"rate": bench.latency_rate}, limits=_busy(window), facts=_facts(window))
    for name, histogram in (("ttft", "ttft"), ("delay", "event_delay")):
        for percentile in ("p50", "p99"):
            sample.values[f"{name}_{percentile}"] = window.percentile(histogram, percentile)
    return sample


def _open(rate: float, seconds: float) -> Load:
    return Load(connections=max(16, int(rate)), seconds=seconds, rate=rate, events=10, pace_ms=20)


def _find_rate(bench: Bench) -> float:
    trials = [bench.rig.measure(gateway, _open(100.0, max(0.5, bench.scale.seconds / 2))) for gateway in bench.gateways]
    dearest = max((trial.gateway_us for trial in trials), default=1e6 * LATENCY_LOAD / LATENCY_RATES[0])
    return min(max(LATENCY_LOAD * 1e6 / dearest, LATENCY_RATES[0]), LATENCY_RATES[1])


def _saturation(bench: Bench, subject: Subject) -> Sample:
    """Requests per second with 32 and 64 connections that never pause."""
    windows = {count: bench.rig.measure(subject, Load(count, seconds=bench.scale.seconds)) for count in (32, 64)}
    sample = Sample(
        {f"rps{count}": window.per_second for count, window in windows.items()},
        throughput=max(window.per_second for window in windows.values()),
        facts=_facts(*windows.values()),
    )
    busy = min(window.gateway_busy for window in windows.values())
    if subject.pid is not None and busy < SATURATED:
        sample.limits.append(f"the gateway used only {busy:.0%} of its core")
    return sample


def _streams(bench: Bench, subject: Subject) -> Sample:
    """Many streams at once; the load generator refuses the window if one event is lost, doubled or mixed up."""
    scale = bench.scale
    window = bench.rig.measure(
        subject, Load(scale.held_streams, scale.held_streams, events=scale.held_events, pace_ms=scale.held_pace_ms)
    )
    late = 100.0 * int(window.seen["late_events"]) / window.events
    return Sample(
        {"streams": window.requests, "late": late, "delay_p99": window.percentile("event_delay", "p99")},
        limits=_busy(window),
        facts=_facts(window),
    )


def _memory(bench: Bench, subject: Subject) -> Sample:
    """PSS at rest after a first request, and its slope between N and 2N streams that stand still."""
    count = bench.scale.idle_streams
    still = Load(count, events=1000, pace_ms=5000)
    with _fresh(bench, subject) as fresh:
        assert fresh.pid is not None
        time.sleep(SETTLE)
        rest = procs.tree_memory(fresh.pid)
        with bench.rig.held(fresh, still):
            time.sleep(SETTLE)
            once = procs.tree_memory(fresh.pid)
            with bench.rig.held(fresh, still):
                time.sleep(SETTLE)
                twice = procs.tree_memory(fresh.pid)
    return Sample(
        {"rest": rest.pss / 2**20, "rest_rss": rest.rss / 2**20, "stream": (twice.pss - once.pss) / count / 1024},
        facts={"processes": rest.processes, "pss": [rest.pss, once.pss, twice.pss], "streams": [0, count, 2 * count]},
    )


def _start(bench: Bench, subject: Subject) -> Sample:
    """From exec to the first 200 to a real request, on all cores, as a user would start it."""
    with _fresh(bench, subject, pin=False) as fresh:
        return Sample({"start": fresh.started_in * 1e3})


def _fresh(bench: Bench, subject: Subject, *, pin: bool = True) -> AbstractContextManager[Subject]:
    if subject.recipe is None:
        raise Refused("it was not started by this program")
    return launch(subject.recipe, bench.rig, pin=pin)


RIG = Metric("rig", "load and stub, CPU per request", "µs", ratio=False)
RIG_EVENT = Metric("rig", "load and stub, CPU per paced event", "µs", ratio=False)

CASES: tuple[Case, ...] = (
    Case("plain", (Metric("cpu", "CPU per plain request, 1 KB", "µs"), RIG), _closed(Load())),
    Case("paced", (Metric("cpu", "CPU per paced SSE event", "µs"), RIG_EVENT), _paced()),
    Case(
        "translated",
        (Metric("cpu", "CPU per paced SSE event, Anthropic provider → OpenAI client", "µs"), RIG_EVENT),
        _paced("anthropic"),
    ),
    Case(
        "translated-gemini",
        (Metric("cpu", "CPU per paced SSE event, Gemini provider → OpenAI client", "µs"), RIG_EVENT),
        _paced("gemini"),
    ),
    Case("burst", (Metric("cpu", "CPU per burst stream of 50 events", "µs"), RIG), _closed(Load(events=50))),
    Case(
        "large", (Metric("cpu", "CPU per plain request, 150 KB prompt", "µs"), RIG), _closed(Load(body_bytes=150_000))
    ),
    Case(
        "latency",
        (
            Metric("ttft_p50", "added time to first token, p50", "µs", added=True),
            Metric("ttft_p99", "added time to first token, p99", "µs", added=True),
            Metric("delay_p50", "added delay per event, p50", "µs", added=True),
            Metric("delay_p99", "added delay per event, p99", "µs", added=True),
            Metric("rate", "streams begun per second for these", "/s", ratio=False),
        ),
        _latency,
    ),
    Case(
        "saturation",
        (
            Metric("rps32", "requests per second, 32 connections", "/s", more_is_better=True),
            Metric("rps64", "requests per second, 64 connections", "/s", more_is_better=True),
        ),
        _saturation,
        reference_too=True,
    ),
    Case(
        "streams",
        (
            Metric("streams", "streams at once, none lost or mixed up", "", more_is_better=True, ratio=False),
            Metric("late", "events over 250 ms late", "%", ratio=False),
            Metric("delay_p99", "delay per event with so many, p99", "µs", ratio=False),
        ),
        _streams,
        rounds=2,
    ),
    Case(
        "memory",
        (
            Metric("stream", "memory per open idle stream (PSS)", "KB"),
            Metric("rest", "memory at rest (PSS)", "MB"),
            Metric("rest_rss", "memory at rest (RSS)", "MB"),
        ),
        _memory,
        fresh=True,
        rounds=2,
    ),
    Case("start", (Metric("start", "start to first answer", "ms"),), _start, fresh=True),
)
