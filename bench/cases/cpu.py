"""CPU of the gateway for each request, and for each event of a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bench.cases.case import Bench, Case, Goal, Metric, Sample, facts, rig_busy, rig_dear
from bench.rig import Load, Window
from bench.subjects import Subject


def _closed(load: Load) -> Callable[[Bench, Subject], Sample]:
    """CPU per request in a closed loop."""

    def measure(bench: Bench, subject: Subject) -> Sample:
        window = bench.rig.measure(subject, replace(load, seconds=bench.scale.seconds))
        sample = Sample({"rig": window.rig_us}, throughput=window.per_second, facts=facts(window))
        if subject.pid is not None:
            sample.values["cpu"] = window.gateway_us
            sample.limits += rig_dear(window)
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
            limits=rig_busy(long) + _out_of_pace(long, scale.paced_pace_ms),
            facts=facts(short, long),
        )
        if subject.pid is not None:
            sample.values["cpu"] = (long.gateway_ns - short.gateway_ns) / events / 1e3
        return sample

    return measure


def _out_of_pace(window: Window, pace_ms: int) -> list[str]:
    """The limit of a sample in which events caught up with each other: several in one read cost less than one each."""
    late = window.percentile("event_delay", "p99") / 1e3
    return [f"late: 1% of the events by over {late:.0f} ms, so that they came together"] if late > pace_ms / 2 else []


RIG = Metric("rig", "load and stub, CPU per request", "µs", ratio=False)
RIG_EVENT = Metric("rig", "load and stub, CPU per paced event", "µs", ratio=False)


def _cpu(title: str, most: float, reach: float) -> Metric:
    return Metric("cpu", title, "µs", goal=Goal(most, reach))


CASES = (
    Case(
        "plain",
        "CPU per request of 1 KB, keep-alive, 8 connections",
        (_cpu("CPU per plain request, 1 KB", 3.0, 2.3), RIG),
        _closed(Load()),
    ),
    Case(
        "paced",
        "CPU per SSE event: slope over the length of 400 streams, one event per 20 ms",
        (_cpu("CPU per paced SSE event", 1.3, 1.0), RIG_EVENT),
        _paced(),
        reference_too=True,
    ),
    Case(
        "translated",
        "the same with an Anthropic provider behind FastAnchor, beside an nginx that relays OpenAI's format",
        (_cpu("CPU per paced SSE event, Anthropic provider → OpenAI client", 1.8, 1.4), RIG_EVENT),
        _paced("anthropic"),
        reference_too=True,
    ),
    Case(
        "translated-gemini",
        "the same with a Gemini provider",
        (Metric("cpu", "CPU per paced SSE event, Gemini provider → OpenAI client", "µs"), RIG_EVENT),
        _paced("gemini"),
        reference_too=True,
        extra=True,
    ),
    Case(
        "burst",
        "CPU per stream of 50 events that come at once",
        (_cpu("CPU per burst stream of 50 events", 1.2, 0.8), RIG),
        _closed(Load(events=50)),
    ),
    Case(
        "large",
        "CPU per request with a prompt of 150 KB",
        (_cpu("CPU per plain request, 150 KB prompt", 2.0, 1.5), RIG),
        _closed(Load(body_bytes=150_000)),
    ),
)
