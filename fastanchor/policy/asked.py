"""The words of a plan: what was asked, the candidates to answer it, and the order to start one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from fastanchor.core.channel import Channel
from fastanchor.policy.budget import Budget

QUEUE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve the request: a channel, the model's public and upstream names, one of the channel's keys.

    `rank` orders: the asked model before its fallbacks, lower tiers first. `context` is the model's, 0 if unknown.
    """

    channel: Channel
    public_model: str
    model: str
    key: int  # index among the channel's keys; -1: the channel has none
    rank: tuple[int, int] = (0, 0)
    context: int = 0
    dialect: str = ""  # the language the channel is asked in
    continues: bool = False  # the model goes on from a begun answer


@dataclass(frozen=True, slots=True)
class Start:
    """Start this candidate now. `why`: first, race, hedge, retry, next_key, next_channel, next_model, rescue (say again
    what a broken stream's client has, and go on) or continue (go on from it)."""

    attempt: int
    candidate: Candidate
    why: str


@dataclass(slots=True, eq=False)
class Waiting:
    """A candidate that may still be started, not before `after`."""

    candidate: Candidate
    after: float = 0.0
    tries: int = 0

    @property
    def order(self) -> tuple[int, tuple[int, int]]:
        """What was tried less often comes first, then the lower rank."""
        return self.tries, self.candidate.rank


def _free(candidate: Candidate) -> int:
    return 0


def _nobody() -> str:
    return ""


@dataclass
class Asked:
    """What the plan must know of the request. `now` and `deadline` on one clock, in seconds.

    `conversation` tells what the request belongs to; it is asked only where that makes a difference. `price` estimates
    what a candidate's answer would cost, in micro-dollars.
    """

    now: float
    deadline: float = math.inf
    prompt_tokens: int = 0
    conversation: Callable[[], str] = _nobody
    price: Callable[[Candidate], int] = _free
    hedges: Budget = field(default_factory=Budget)
    hedgeable: bool = True  # false for requests with side effects at the provider
    organization: str = ""
    queue_seconds: float = QUEUE_SECONDS  # how long the request may wait for a place

    @cached_property
    def affinity(self) -> str:
        """The conversation's name, or ""."""
        return self.conversation()
