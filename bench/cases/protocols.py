"""What TLS and HTTP/2 cost beside HTTP/1.1 in clear: CPU per request and per event, each protocol in the same round."""

from __future__ import annotations

import shutil

from bench.cases.case import Bench, Case, Metric, Sample
from bench.doors import DOORS, Door, behind, weigh
from bench.recipes import Recipe
from bench.rig import Refused
from bench.subjects import Subject

CONNECTIONS = 8
REQUESTS_PER_SECOND = 2000
"""Of a window's length: about what a gateway does."""


def fits(subject: Subject) -> bool:
    """Those whose files this program writes and knows how to change."""
    return subject.recipe is not None and subject.recipe.name in ("nginx", "fastanchor")


def _protocols(bench: Bench, subject: Subject) -> Sample:
    if subject.recipe is None or shutil.which("h2load") is None:
        raise Refused("h2load is not installed" if subject.recipe else "it was not started by this program")
    values: dict[str, float] = {}
    for i, door in enumerate(DOORS):
        values[f"request{i}"], values[f"event{i}"] = _behind(door, subject.recipe, bench)
    return Sample(values)


def _behind(door: Door, recipe: Recipe, bench: Bench) -> tuple[float, float]:
    """CPU per plain request and per paced event, µs."""
    rig, scale = bench.rig, bench.scale
    connections = scale.paced_streams // door.streams
    with behind(door, recipe, rig) as subject:
        weigh(door, subject, rig, connections=CONNECTIONS, requests=200)  # warm
        plain = weigh(
            door, subject, rig, connections=CONNECTIONS, requests=int(REQUESTS_PER_SECOND * scale.seconds)
        )
        short, long = (
            weigh(door, subject, rig, connections=connections, requests=connections * door.streams, events=events,
                  pace_ms=scale.paced_pace_ms)
            for events in scale.paced_events
        )  # fmt: skip
        events = (scale.paced_events[1] - scale.paced_events[0]) * long.requests
        return plain.gateway_ns / plain.requests / 1e3, (long.gateway_ns - short.gateway_ns) / events / 1e3


CASES = (
    Case(
        "protocols",
        "CPU per plain request and per paced event over HTTP/1.1 and HTTP/2, in clear and over TLS, from h2load",
        tuple(
            Metric(f"{what}{i}", f"CPU per {text}, {door.name}", "µs")
            for what, text in (("request", "plain request, 1 KB"), ("event", "paced SSE event"))
            for i, door in enumerate(DOORS)
        ),
        _protocols,
        fits=fits,
        rounds=5,
        extra=True,
    ),
)
