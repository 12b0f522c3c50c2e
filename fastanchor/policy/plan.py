"""The race decider: which candidate to start, when, and when to give up. No I/O, no clock, no chance of its own.

A plan lives for one request. Whoever carries it out asks `steps(now)` for what to start, sleeps until `wake(now)` at
most, and reports every ending with `failed` or `won`. What the plan promises:

- never more attempts in all than the route's, never more alive at once than `race` or one more per hedge;
- no start after a win; it always ends, with a win or with the most useful fault it saw;
- a channel is asked a second time only where the fault says so: another key after a key's fault, the same key after the
  provider's own wait, the same channel after a reset, or, when no other is left, after a pause; never after silence;
- a longer context or another filter is looked for only in other models; the client's own mistake is told at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from fastanchor.core.channel import Channel
from fastanchor.core.faults import Fault, Kind, Retry
from fastanchor.core.route import Route
from fastanchor.policy.budget import Budget
from fastanchor.policy.health import Health
from fastanchor.policy.select import Price, choose

BACKOFF_FIRST = 0.5
BACKOFF_LAST = 8.0
LONGEST_WAIT = 60.0
"""Seconds. A provider's longer wait is told to the client instead."""


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


@dataclass(frozen=True, slots=True)
class Start:
    """Start this candidate now."""

    attempt: int
    candidate: Candidate
    why: str


@dataclass(slots=True)
class _Waiting:
    """A candidate that may still be started, not before `after`."""

    candidate: Candidate
    after: float = 0.0
    tries: int = 0


@dataclass(slots=True)
class Asked:
    """What the plan must know of the request. `now` and `deadline` on one clock, in seconds."""

    now: float
    deadline: float = math.inf
    prompt_tokens: int = 0
    affinity: str = ""
    price: Price | None = None
    hedges: Budget = field(default_factory=Budget)
    hedgeable: bool = True  # false for requests with side effects at the provider
    organization: str = ""
    queue_seconds: float = 10.0  # how long the request may wait for a place


class Plan:
    """Decides for one request."""

    def __init__(
        self, route: Route, candidates: list[Candidate], health: Health, asked: Asked, random: Random
    ) -> None:
        self.route = route
        self.health = health
        self.asked = asked
        self.random = random
        self.waiting = [_Waiting(candidate) for candidate in candidates]
        self.alive: dict[int, _Waiting] = {}
        self.begun: dict[int, float] = {}
        self.started = 0
        self.fault: Fault | None = None
        self.finished = False
        self.blocked: frozenset[str] = frozenset()  # channels at capacity that alone stood in the way of `steps`
        self.waits_since: float | None = None
        self.last: Candidate | None = None  # the one that failed last
        asked.hedges.deposit()

    @property
    def alone(self) -> bool:
        """Whether attempts can only ever run one at a time, so that they need no nursery."""
        channels = {waiting.candidate.channel.name for waiting in self.waiting}
        return len(channels) < 2 or (self.route.race == 1 and not self._may_hedge())

    def steps(self, now: float) -> list[Start]:
        """What to start now."""
        starts: list[Start] = []
        while not self.finished and self.started < self.route.attempts and now < self.asked.deadline:
            why = self._reason(now)
            if why is None:
                break
            waiting = self._pick(now, fresh_channel=bool(self.alive))
            if waiting is None:
                break
            if why == "hedge" and not self.asked.hedges.take(now):
                break
            starts.append(self._start(waiting, why, now))
        return starts

    def wake(self, now: float) -> float | None:
        """When `steps` should be asked again although nothing happened; None: only after an ending."""
        times = [self.asked.deadline] if self.asked.deadline < math.inf else []
        if not self.finished and self.started < self.route.attempts:
            if self.alive:
                if self._may_hedge() and any(self._fresh(w) for w in self.waiting):
                    times.append(self._hedge_at(now))
            else:
                times += [self._usable_at(w, now) for w in self.waiting]
                if self.blocked and self.waits_since is not None:
                    times.append(self.waits_since + self.asked.queue_seconds)
        later = [t for t in times if t > now]
        return min(later, default=None)

    def won(self, attempt: int, now: float) -> list[Candidate]:
        """This attempt's first content has come. Returns the candidates that were overtaken although they had had
        their time: they count as silent."""
        self.finished = True
        winner = self.alive.pop(attempt)
        late = self._patience(winner.candidate)
        return [w.candidate for a, w in self.alive.items() if now - self.begun[a] >= late]

    def failed(self, attempt: int, fault: Fault, now: float) -> None:
        """This attempt ended without an answer."""
        waiting = self.alive.pop(attempt)
        self.fault = more_useful(self.fault, fault)
        self._after(fault, waiting, now)

    def broke(self, candidate: Candidate, fault: Fault, now: float) -> None:
        """The winner's stream broke off: look for another that can go on."""
        self.finished = False
        self.fault = more_useful(self.fault, fault)
        self._after(fault, _Waiting(candidate), now)

    @property
    def over(self) -> Fault | None:
        """The fault to tell when nothing is alive and nothing can be started any more; None while there is hope."""
        if self.alive:
            return None
        if self.finished or self.started >= self.route.attempts or not self.waiting:
            return self.fault or Fault(Kind.SERVICE_UNAVAILABLE)
        return None

    def hopeless(self, now: float) -> Fault | None:
        """`over`, or the fault to tell when all that could be done would come too late."""
        over = self.over
        if over is not None or self.alive:
            return over
        if now >= self.asked.deadline:
            return self.fault or Fault(Kind.DEADLINE)
        if self.blocked:
            return self._queued_too_long(now)
        soonest = min(self._usable_at(w, now) for w in self.waiting)
        if soonest - now > LONGEST_WAIT or soonest >= self.asked.deadline or self._all_open(now):
            return self.fault or Fault(Kind.SERVICE_UNAVAILABLE, retry_after=max(1.0, soonest - now))
        return None

    def _queued_too_long(self, now: float) -> Fault | None:
        if self.waits_since is None:
            self.waits_since = now
        if now - self.waits_since < self.asked.queue_seconds:
            return None
        return self.fault or Fault(Kind.SERVICE_UNAVAILABLE, retry_after=1.0)

    # -- starting ---------------------------------------------------------------------------------------------------

    def _reason(self, now: float) -> str | None:
        """Why another attempt should run now, or None."""
        if not self.alive:
            return "next" if self.started else "first"
        if self.started < self.route.race:
            return "race"
        if self._may_hedge() and now >= self._hedge_at(now):
            return "hedge"
        return None

    def _pick(self, now: float, *, fresh_channel: bool) -> _Waiting | None:
        """The best candidate that may be started now: of the lowest rank that has any, as the route selects."""
        full: set[str] = set()
        usable: list[_Waiting] = []
        for waiting in self.waiting:
            if self._usable_at(waiting, now) > now or (fresh_channel and not self._fresh(waiting)):
                continue
            if self.health.of(waiting.candidate.channel).concurrency.full:
                full.add(waiting.candidate.channel.name)
                continue
            usable.append(waiting)
        self.blocked = frozenset() if usable else frozenset(full)
        if not usable:
            return None
        rank = min(w.candidate.rank for w in usable)
        best = [w for w in usable if w.candidate.rank == rank]
        channel = self._choose(list({w.candidate.channel.name: w.candidate.channel for w in best}.values()), now)
        return next(w for w in best if w.candidate.channel is channel)

    def _choose(self, channels: list[Channel], now: float) -> Channel:
        affinity = self.asked.affinity if self.route.affinity or self.route.select == "sticky" else ""
        return choose(
            channels,
            self.health,
            self.route.select,
            now=now,
            random=self.random,
            affinity=affinity,
            prompt_tokens=self.asked.prompt_tokens,
            price=self.asked.price,
        )

    def _start(self, waiting: _Waiting, why: str, now: float) -> Start:
        self.waiting.remove(waiting)
        attempt = self.started
        self.alive[attempt] = waiting
        self.begun[attempt] = now
        self.started += 1
        return Start(attempt, waiting.candidate, self._why(waiting.candidate) if why == "next" else why)

    def _why(self, candidate: Candidate) -> str:
        """What kind of next try this is, after the last that failed."""
        last = self.last
        if last is None or candidate.public_model != last.public_model:
            return "next_model"
        if candidate.channel is not last.channel:
            return "next_channel"
        return "retry" if candidate.key == last.key else "next_key"

    def _fresh(self, waiting: _Waiting) -> bool:
        """Whether the candidate's channel is not being asked right now."""
        return all(alive.candidate.channel is not waiting.candidate.channel for alive in self.alive.values())

    def _usable_at(self, waiting: _Waiting, now: float) -> float:
        candidate = waiting.candidate
        return max(waiting.after, self.health.of(candidate.channel).usable_at(candidate.key, now))

    def _all_open(self, now: float) -> bool:
        """Whether only open breakers stand in the way: then the client is told at once."""
        return all(
            not self.health.of(w.candidate.channel).breaker.allows(now) and w.after <= now for w in self.waiting
        )

    # -- hedging ----------------------------------------------------------------------------------------------------

    def _may_hedge(self) -> bool:
        hedge = self.route.hedge
        if hedge.after is None and hedge.percentile is None:
            return False
        return self.asked.hedgeable and self.asked.prompt_tokens <= hedge.max_prompt_tokens

    def _hedge_at(self, now: float) -> float:
        """When the youngest attempt alive is late."""
        attempt = max(self.alive)
        return self.begun[attempt] + self._patience(self.alive[attempt].candidate)

    def _patience(self, candidate: Candidate) -> float:
        """Seconds after which a first token is late: the channel's own percentile, else the fixed delay."""
        hedge = self.route.hedge
        if hedge.percentile is not None:
            measured = self.health.of(candidate.channel).latency.percentile(hedge.percentile)
            if measured is not None:
                return max(0.2, measured)
        return 10.0 if hedge.after is None else hedge.after

    # -- after a failure --------------------------------------------------------------------------------------------

    def _after(self, fault: Fault, waiting: _Waiting, now: float) -> None:
        """What a fault leaves to be tried."""
        channel = waiting.candidate.channel
        retry = fault.retry
        if fault.kind is Kind.CONTENT_FILTER and self.route.content_filter_fallback:
            retry = Retry.MODEL
        self.last = waiting.candidate
        if retry is Retry.NO:
            self.finished = True
        elif retry is Retry.MODEL:
            self._keep(lambda w: _larger(w.candidate, waiting.candidate))
        elif fault.kind is Kind.UPSTREAM_RATE_LIMITED:
            self._again(waiting, now, self._wait(fault, waiting))
        elif retry is Retry.KEY:
            return  # this key is gone; the others are still waiting
        elif fault.kind in NEVER_AGAIN:
            self._keep(lambda w: w.candidate.channel is not channel)
        else:
            self._last_resort(waiting, now)

    def _last_resort(self, waiting: _Waiting, now: float) -> None:
        """The channel again, after a pause and after all others: only while its retry budget lasts."""
        channel = waiting.candidate.channel
        if self.health.of(channel).retries.take(now):
            self._again(waiting, now, self._backoff(waiting))
        pause = self._backoff(waiting)
        for other in self.waiting:
            if other.candidate.channel is channel:
                other.after = max(other.after, now + pause)

    def _again(self, waiting: _Waiting, now: float, pause: float) -> None:
        self.waiting.append(_Waiting(waiting.candidate, now + pause, waiting.tries + 1))

    def _wait(self, fault: Fault, waiting: _Waiting) -> float:
        """The provider's own wait, a little longer so that not all come back at once; else a backoff."""
        if fault.retry_after is None:
            return self._backoff(waiting)
        return fault.retry_after * (1.0 + 0.1 * self.random.random())

    def _backoff(self, waiting: _Waiting) -> float:
        """Full jitter: anything up to a bound that doubles with each try."""
        return self.random.random() * min(BACKOFF_LAST, BACKOFF_FIRST * 2.0**waiting.tries)

    def _keep(self, wanted: Callable[[_Waiting], bool]) -> None:
        self.waiting = [w for w in self.waiting if wanted(w)]


NEVER_AGAIN = frozenset((Kind.SILENT, Kind.STALLED, Kind.TLS_FAILED, Kind.UPSTREAM_NOT_FOUND, Kind.CONNECT_TIMEOUT))
"""Faults after which this request does not ask the channel again: waiting more will not help."""


def _larger(other: Candidate, failed: Candidate) -> bool:
    """Whether another candidate's model may take a prompt that was too long for the failed one's."""
    if other.public_model == failed.public_model:
        return False
    return not other.context or not failed.context or other.context > failed.context


def more_useful(old: Fault | None, new: Fault) -> Fault:
    """Of two faults the one that helps the client more: its own mistake, then a wait, then what came last."""
    if old is None or new.rejected:
        return new
    if old.rejected or (old.kind is Kind.UPSTREAM_RATE_LIMITED and new.kind is not Kind.UPSTREAM_RATE_LIMITED):
        return old
    return new
