"""The race decider: which candidate to start, when, and when to give up. No I/O, no clock, no randomness of its own.

A plan lives for one request. Whoever executes it asks `steps(now)` for what to start, sleeps until `wake(now)` at most,
and reports every ending with `failed` or `won`. The plan never has more attempts alive than it may, never starts
one after a win, and always ends: with a win or with the most useful fault it saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from fastanchor.core.channel import Channel
from fastanchor.core.faults import Fault, Kind, Retry
from fastanchor.core.route import Route


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve the request: a channel, the model's public and upstream names, one of the channel's keys."""

    channel: Channel
    public_model: str
    model: str
    key: int  # index among the channel's keys; -1: the channel has none


@dataclass(frozen=True, slots=True)
class Start:
    """Start this candidate now."""

    attempt: int
    candidate: Candidate
    why: str


def order(channels: tuple[Channel, ...], random: Random) -> list[Channel]:
    """Lower tiers first; within a tier a weighted shuffle, so that shares of first choices follow the weights."""
    keyed = [(c.tier, -(random.random() ** (1.0 / c.weight)) if c.weight else 0.0, c) for c in channels]
    return [c for _, _, c in sorted(keyed, key=lambda entry: entry[:2])]


class Plan:
    """Tries candidates one after the other: another channel for a channel's failure, another key for a key's."""

    def __init__(self, route: Route, candidates: list[Candidate]) -> None:
        self.route = route
        self.waiting = list(candidates)
        self.alive: dict[int, Candidate] = {}
        self.started = 0
        self.fault: Fault | None = None
        self.finished = False

    @property
    def alone(self) -> bool:
        """Whether attempts only ever run one at a time, so that they need no nursery."""
        return True

    def steps(self, now: float) -> list[Start]:
        """What to start now."""
        if self.finished or self.alive or not self.waiting or self.started >= self.route.attempts:
            return []
        candidate = self.waiting.pop(0)
        start = Start(self.started, candidate, "first" if self.started == 0 else "next_channel")
        self.alive[start.attempt] = candidate
        self.started += 1
        return [start]

    def wake(self, now: float) -> float | None:
        """When `steps` should be asked again although nothing happened; None: only after an ending."""
        return None

    def won(self, attempt: int, now: float) -> None:
        """This attempt's first content has come."""
        self.finished = True

    def failed(self, attempt: int, fault: Fault, now: float) -> None:
        """This attempt ended without an answer."""
        candidate = self.alive.pop(attempt)
        self.fault = more_useful(self.fault, fault)
        if fault.retry in (Retry.NO, Retry.MODEL):
            self.finished = True
        elif fault.retry is not Retry.KEY:
            self.waiting = [c for c in self.waiting if c.channel is not candidate.channel]

    @property
    def over(self) -> Fault | None:
        """The fault to tell when nothing is alive and nothing can be started; None while there is hope."""
        if self.alive or (not self.finished and self.waiting and self.started < self.route.attempts):
            return None
        return self.fault or Fault(Kind.SERVICE_UNAVAILABLE)


def more_useful(old: Fault | None, new: Fault) -> Fault:
    """Of two faults the one that helps the client more: its own mistake, then a wait, then what came last."""
    if old is None or new.rejected:
        return new
    if old.rejected or (old.kind is Kind.UPSTREAM_RATE_LIMITED and new.kind is not Kind.UPSTREAM_RATE_LIMITED):
        return old
    return new
