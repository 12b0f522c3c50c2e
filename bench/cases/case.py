"""The words of a case: what is measured, in which unit, how much it may cost, and when the rig must not be believed.

A case measures one subject once and returns a `Sample`. `Sample.limits` are the reasons why its numbers say more about
the rig than about the subject; `throughput` is kept where the direct connection must be clearly faster.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from bench.recipes import Setup
from bench.rig import Refused, Rig, Window
from bench.subjects import Subject, launch

RIG_SHARE = 0.9  # of the gateway's CPU per request that load and stub may need, where nobody pauses
RIG_BUSY = 0.7  # of its core that the rig may use where the pace is given
SATURATED = 0.9  # of its core that the gateway must use where it is to be the bottleneck


@dataclass(frozen=True)
class Scale:
    """How large the cases are. Times in seconds."""

    seconds: float = 1.5
    paced_streams: int = 400
    paced_pace_ms: int = 20
    paced_events: tuple[int, int] = (10, 60)
    held_streams: int = 5000
    held_pace_ms: int = 250
    held_events: int = 32
    held_ramp: float = 4.0  # until all of them are open
    idle_streams: tuple[int, int] = (1000, 9000)

    @classmethod
    def quick(cls) -> Scale:
        """A few seconds over everything: for a smoke test, not for numbers."""
        return cls(
            seconds=0.2,
            paced_streams=40,
            paced_events=(5, 15),
            held_streams=100,
            held_pace_ms=50,
            held_events=10,
            held_ramp=0.2,
            idle_streams=(25, 50),
        )


@dataclass(frozen=True)
class Goal:
    """What is promised of a metric, and what is reached for: its value, or (`ratio`) its ratio to the reference."""

    most: float
    reach: float
    ratio: bool = True


@dataclass(frozen=True)
class Metric:
    """One row of the report. `added` rows have the direct connection's value taken off before the ratio is made."""

    key: str
    title: str
    unit: str
    more_is_better: bool = False
    added: bool = False
    ratio: bool = True
    goal: Goal | None = None


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


def everybody(subject: Subject) -> bool:
    """Cases that any subject can be measured by."""
    return True


def ours_to_start(subject: Subject) -> bool:
    """Cases that start the subject anew."""
    return subject.recipe is not None


@dataclass(frozen=True)
class Case:
    """`fits` says which subjects are measured by it; at most `rounds` rounds are made.

    `reference_too`: a ratio also falls when the reference's own sample has limits (it was not the bottleneck either).
    `extra`: only measured when asked for by name.
    """

    name: str
    about: str
    metrics: tuple[Metric, ...]
    measure: Callable[[Bench, Subject], Sample]
    fits: Callable[[Subject], bool] = everybody
    reference_too: bool = False
    rounds: int = 1000
    extra: bool = False


def facts(*windows: Window) -> dict[str, Any]:
    """What the report keeps of the windows of a sample."""
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


def rig_busy(window: Window) -> list[str]:
    """The limit of a sample whose pace was given: the rig could hardly keep it."""
    if window.rig_busy <= RIG_BUSY:
        return []
    return [f"load and stub used {window.rig_busy:.0%} of their core"]


def rig_dear(window: Window) -> list[str]:
    """The limit of a sample without pauses: the rig had as much to do as the gateway."""
    if window.rig_us <= RIG_SHARE * window.gateway_us:
        return []
    return [f"load and stub needed {window.rig_us:.1f} µs beside {window.gateway_us:.1f} µs"]


def unsaturated(window: Window) -> list[str]:
    """The limit of a throughput: the gateway was not what everybody waited for."""
    if window.gateway_busy >= SATURATED:
        return []
    return [f"the gateway used only {window.gateway_busy:.0%} of its core"]


def fresh(
    bench: Bench, subject: Subject, setup: Setup | None = None, *, pin: bool = True
) -> AbstractContextManager[Subject]:
    """The subject started anew, perhaps set up in another way."""
    if subject.recipe is None:
        raise Refused("it was not started by this program")
    return launch(subject.recipe, bench.rig, setup=setup or subject.setup, pin=pin)
