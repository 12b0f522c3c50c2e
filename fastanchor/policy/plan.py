"""The race decider: which candidate to start, when, and when to give up. No I/O, no clock, no chance of its own.

A plan lives for one request. Whoever carries it out asks `steps(now)` for what to start, sleeps until `wake(now)` at
most, asks `verdict(now)` whether it is over, and reports every ending with `failed` or `won`. What the plan promises:

- never more attempts in all than the route's, never more alive at once than `race` or one more per hedge;
- no start after a win; it always ends, with a win or with the most useful fault it saw;
- a channel is asked a second time only where the fault says so: another key after a key's fault, the same key after the
  provider's own wait, the same channel after a pause, behind all others and while its retry budget lasts; to go on from
  a begun answer that it would not repeat; never after silence;
- a longer context or another filter is looked for only in other models; the client's own mistake is told at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from fastanchor.core.channel import Channel
from fastanchor.core.faults import Fault, Kind, Retry
from fastanchor.core.route import Route
from fastanchor.policy.asked import Asked, Candidate, Start, Waiting
from fastanchor.policy.health import Health
from fastanchor.policy.select import choose, conversation_key, rendezvous

BACKOFF_FIRST = 0.5
BACKOFF_LAST = 8.0
LONGEST_WAIT = 60.0
"""Seconds. A provider's longer wait is told to the client instead."""
BLIP = 2.5
"""Seconds that a request waits for a channel to be tried again when all are down: a first rest, but no outage."""
LEAST_PATIENCE = 0.2
"""Seconds: a measured percentile below this is no reason to hedge."""
USUAL_PATIENCE = 10.0
"""Seconds after which a first token is late where nothing was measured yet."""
PROBE_PATIENCE = 1.0
"""Seconds that the probe of a half-open channel has before the next candidate starts beside it."""

NEVER_AGAIN = frozenset(
    (Kind.SILENT, Kind.STALLED, Kind.DIVERGED, Kind.TLS_FAILED, Kind.CONNECT_TIMEOUT, Kind.UPSTREAM_NOT_FOUND)
)
"""Faults after which this request does not ask the channel again: asking once more will not help."""


class Plan:
    """Decides for one request."""

    def __init__(
        self, route: Route, candidates: list[Candidate], health: Health, asked: Asked, random: Random
    ) -> None:
        self.route = route
        self.health = health
        self.asked = asked
        self.random = random
        self.waiting = [Waiting(candidate) for candidate in candidates]
        self.alive: dict[int, Waiting] = {}
        self.begun: dict[int, float] = {}
        self.probes: set[int] = set()  # attempts that test whether a half-open channel is back
        self.started = 0
        self.fault: Fault | None = None
        self.finished = False
        self.rescuing = False  # a stream broke: what is looked for is one that goes on with it
        self.continuable = False  # what its client has could be given to a model as the beginning of its answer
        self.continuing = False  # no other answer says it again: only models that go on from it are asked
        self.blocked: frozenset[str] = frozenset()  # channels at capacity that alone stood in the way of `steps`
        self.offered = ""  # the channel whose place the waiting room has given to this request
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
            waiting = self._pick(now, beside=bool(self.alive))
            if waiting is None:
                break
            if why == "hedge" and not self._affordable(waiting.candidate, now):
                break
            if waiting.tries and not self.health.of(waiting.candidate.channel).retries.take(now):
                self.waiting.remove(waiting)
                continue
            starts.append(self._start(waiting, why, now))
        return starts

    def wake(self, now: float) -> float | None:
        """When `steps` should be asked again although nothing happened; None: only after an ending."""
        times = [self.asked.deadline] if self.asked.deadline < math.inf else []
        if not self.finished and self.started < self.route.attempts:
            if not self.alive:
                times += [self._usable_at(w, now) for w in self.waiting]
                if self.blocked and self.waits_since is not None:
                    times.append(self.waits_since + self.asked.queue_seconds)
            elif self._may_hedge() and self.waiting:
                late = self._hedge_at()
                times += [late] if late > now else [self._usable_at(w, now) for w in self.waiting]
        return min((t for t in times if t > now), default=None)

    def won(self, attempt: int, now: float) -> list[tuple[Candidate, float]]:
        """This attempt's first content has come. Returns the candidates that it has overtaken although they had had
        their time, and the seconds that they had: they count as silent."""
        self.finished = True
        del self.alive[attempt]
        late = {a: now - self.begun[a] >= self._patience(a, w.candidate) for a, w in self.alive.items()}
        overtaken = [(self.alive[a].candidate, now - self.begun[a]) for a in late if late[a]]
        self.waiting += [self.alive[a] for a in late if not late[a]]  # a rescue may ask them anew
        self.alive.clear()
        return overtaken

    def failed(self, attempt: int, fault: Fault, now: float) -> None:
        """This attempt ended without an answer."""
        waiting = self.alive.pop(attempt)
        self.fault = more_useful(self.fault, fault)
        self._after(fault, waiting, now)

    def broke(self, candidate: Candidate, fault: Fault, now: float) -> None:
        """The winner's stream broke off: look for another that can go on."""
        self.finished = False
        self.rescuing = True
        self.fault = more_useful(self.fault, fault)
        self._after(fault, Waiting(candidate), now)

    def verdict(self, now: float) -> Fault | None:
        """The fault to tell when no attempt can win any more, or would come too late; None while there is hope."""
        if self.finished:
            return self.fault or Fault(Kind.SERVICE_UNAVAILABLE)
        if self.alive:
            return None
        if self.started >= self.route.attempts or not self.waiting:
            return self.fault or Fault(Kind.SERVICE_UNAVAILABLE)
        if now >= self.asked.deadline:
            return self.fault or Fault(Kind.DEADLINE)
        if self.blocked:
            return self._queued_too_long(now)
        return self._too_late(now)

    def _queued_too_long(self, now: float) -> Fault | None:
        if self._may_wait_on(now):
            return None
        return self.fault or Fault(Kind.SERVICE_UNAVAILABLE, retry_after=1.0)

    def _may_wait_on(self, now: float) -> bool:
        if self.waits_since is None:
            self.waits_since = now
        return now - self.waits_since < self.asked.queue_seconds

    def _too_late(self, now: float) -> Fault | None:
        """The fault to tell when nothing that waits is worth waiting for."""
        states = [(self.health.of(w.candidate.channel), w) for w in self.waiting]
        if all(state.parked(w.candidate.key, now) for state, w in states):
            return self.fault or Fault(Kind.UPSTREAM_AUTH)
        soonest = min(self._usable_at(w, now) for w in self.waiting)
        down = all(not state.breaker.allows(now) and w.after <= now for state, w in states)
        longest = LONGEST_WAIT if self.started else self.asked.queue_seconds
        if down:
            longest = BLIP if self._may_wait_on(now) else 0.0
        if soonest - now <= longest and soonest < self.asked.deadline:
            return None
        kind = Kind.SERVICE_UNAVAILABLE if down else Kind.UPSTREAM_RATE_LIMITED
        return self.fault or Fault(kind, retry_after=max(1.0, soonest - now))

    def skipped(self, chosen: Candidate, now: float) -> list[tuple[Candidate, str]]:
        """Candidates, one per channel, that stood before or beside the chosen one and could not be started, and why:
        `open`, `parked`, `waiting` or `full`."""
        found: dict[str, tuple[Candidate, str]] = {}
        for waiting in self.waiting:
            candidate = waiting.candidate
            if candidate.rank > chosen.rank or candidate.channel is chosen.channel:
                continue
            reason = self._obstacle(waiting, now)
            if reason:
                found.setdefault(candidate.channel.name, (candidate, reason))
        return list(found.values())

    def _obstacle(self, waiting: Waiting, now: float) -> str:
        state = self.health.of(waiting.candidate.channel)
        if not state.breaker.allows(now):
            return "open"
        if state.parked(waiting.candidate.key, now):
            return "parked"
        if self._usable_at(waiting, now) > now:
            return "waiting"
        return "full" if state.full(waiting.candidate.key) else ""

    # -- starting ---------------------------------------------------------------------------------------------------

    def _reason(self, now: float) -> str | None:
        """Why another attempt should run now, or None."""
        if not self.alive:
            if self.rescuing:
                return "continue" if self.continuing and self.continuable else "rescue"
            return "next" if self.started else "first"
        if self.started < self.route.race:
            return "race"
        if self._may_hedge() and now >= self._hedge_at():
            return "hedge"
        return None

    def _pick(self, now: float, *, beside: bool) -> Waiting | None:
        """The best candidate that may be started now: of those tried least, of the lowest rank, as the route selects.
        `beside` others it must be of a channel of its own."""
        full: set[str] = set()
        usable: list[Waiting] = []
        for waiting in self.waiting:
            channel = waiting.candidate.channel
            if self._usable_at(waiting, now) > now or (beside and not self._fresh(channel)):
                continue
            if self.health.of(channel).full(waiting.candidate.key, promised=channel.name == self.offered):
                full.add(channel.name)
                continue
            usable.append(waiting)
        self.blocked = frozenset() if usable else frozenset(full)
        if len(usable) < 2:
            return usable[0] if usable else None
        if self.offered:
            usable = [w for w in usable if w.candidate.channel.name == self.offered] or usable
        first = min(w.order for w in usable)
        return self._choose([w for w in usable if w.order == first], now)

    def _choose(self, best: list[Waiting], now: float) -> Waiting:
        """One of several equals."""
        if len(best) == 1:
            return best[0]
        channels = list({w.candidate.channel.name: w.candidate.channel for w in best}.values())
        affinity = self.asked.affinity if self.route.affinity or self.route.select == "sticky" else ""
        channel = choose(
            channels,
            self.health,
            self.route.select,
            now=now,
            random=self.random,
            affinity=affinity,
            prompt_tokens=self.asked.prompt_tokens,
            prices={w.candidate.channel.name: self.asked.price(w.candidate) for w in best}
            if self.route.select == "cost"
            else None,
        )
        keys = [w for w in best if w.candidate.channel is channel]
        if affinity and len(keys) > 1:  # a provider's cache belongs to the account behind the key
            key = conversation_key(affinity)
            return max(keys, key=lambda w: rendezvous(key, str(w.candidate.key), 1.0))
        return keys[0]

    def under_way(self, began: float) -> Start:
        """The first attempt, at the candidate of the lowest rank, was begun without the plan."""
        return self._start(min(self.waiting, key=lambda waiting: waiting.candidate.rank), "first", began)

    def _start(self, waiting: Waiting, why: str, now: float) -> Start:
        self.waiting.remove(waiting)
        attempt = self.started
        self.alive[attempt] = waiting
        self.begun[attempt] = now
        self.started += 1
        self.waits_since = None
        if self.health.started(waiting.candidate.channel, now, waiting.candidate.key):
            self.probes.add(attempt)
        return Start(attempt, waiting.candidate, self._why(waiting.candidate) if why == "next" else why)

    def _why(self, candidate: Candidate) -> str:
        """What kind of next try this is, after the last that failed."""
        last = self.last
        if last is None or candidate.public_model != last.public_model:
            return "next_model"
        if candidate.channel is not last.channel:
            return "next_channel"
        return "retry" if candidate.key == last.key else "next_key"

    def _fresh(self, channel: Channel) -> bool:
        """Whether the channel is not being asked right now."""
        return all(alive.candidate.channel is not channel for alive in self.alive.values())

    def _usable_at(self, waiting: Waiting, now: float) -> float:
        candidate = waiting.candidate
        return max(waiting.after, self.health.of(candidate.channel).usable_at(candidate.key, now))

    # -- hedging ----------------------------------------------------------------------------------------------------

    def _may_hedge(self) -> bool:
        hedge = self.route.hedge
        if self.rescuing or (hedge.after is None and hedge.percentile is None):
            return False
        return self.asked.hedgeable and self.asked.prompt_tokens <= hedge.max_prompt_tokens

    def _affordable(self, candidate: Candidate, now: float) -> bool:
        """Whether the hedge is within the route's money and share."""
        cap = self.route.hedge.max_cost
        return (not cap or self.asked.price(candidate) <= cap) and self.asked.hedges.take(now)

    def _hedge_at(self) -> float:
        """When the youngest attempt alive is late."""
        attempt = max(self.alive)
        return self.begun[attempt] + self._patience(attempt, self.alive[attempt].candidate)

    def _patience(self, attempt: int, candidate: Candidate) -> float:
        """Seconds after which an attempt's first token is late: a probe's, the channel's own percentile, or fixed."""
        hedge = self.route.hedge
        patience = USUAL_PATIENCE if hedge.after is None else hedge.after
        if hedge.percentile is not None:
            measured = self.health.of(candidate.channel).latency.percentile(hedge.percentile)
            if measured is not None:
                patience = max(LEAST_PATIENCE, measured)
        return min(PROBE_PATIENCE, patience) if attempt in self.probes else patience

    # -- after a failure --------------------------------------------------------------------------------------------

    def _after(self, fault: Fault, waiting: Waiting, now: float) -> None:
        """What a fault leaves to be tried."""
        candidate = waiting.candidate
        self.last = candidate
        if fault.kind is Kind.CONTENT_FILTER and self.route.content_filter_fallback:
            self._keep(lambda c: c.public_model != candidate.public_model)
        elif fault.retry is Retry.NO:
            self.finished = True
        elif fault.retry is Retry.MODEL:
            self._keep(lambda c: _larger(c, candidate))
        elif fault.kind is Kind.UPSTREAM_RATE_LIMITED:
            if self._may_ask_again(candidate.channel, now):
                self._again(waiting, now + self._wait(fault, waiting))
        elif fault.retry is Retry.KEY:
            return  # this key is gone; the others are still waiting
        elif fault.kind is Kind.DIVERGED and self._may_continue(waiting, now):
            return
        elif fault.kind in NEVER_AGAIN:
            self._keep(lambda c: c.channel is not candidate.channel)
        elif self._may_ask_again(candidate.channel, now):
            self._last_resort(waiting, now)
        else:
            self._keep(lambda c: c.channel is not candidate.channel)

    def _may_continue(self, waiting: Waiting, now: float) -> bool:
        """After an answer that does not say again what the client has: turn to the models that go on from it."""
        if self.continuing or not self.continuable:
            return False
        once_more = Waiting(waiting.candidate, now, waiting.tries + 1)
        able = [one for one in (*self.waiting, once_more) if one.candidate.continues]
        self.continuing = bool(able)
        self.waiting = able or self.waiting
        return self.continuing

    def _may_ask_again(self, channel: Channel, now: float) -> bool:
        """Whether another attempt is left for the channel, and its budget pays for it."""
        return self.started < self.route.attempts and self.health.of(channel).retries.has(now)

    def _last_resort(self, waiting: Waiting, now: float) -> None:
        """The channel again, with this or another key: after a pause, and after all that were tried less."""
        after = now + self._backoff(waiting)
        for other in self.waiting:
            if other.candidate.channel is waiting.candidate.channel:
                other.after = max(other.after, after)
                other.tries = max(other.tries, waiting.tries + 1)
        self._again(waiting, after)

    def _again(self, waiting: Waiting, after: float) -> None:
        self.waiting.append(Waiting(waiting.candidate, after, waiting.tries + 1))

    def _wait(self, fault: Fault, waiting: Waiting) -> float:
        """The provider's own wait, a little longer so that not all come back at once; else a backoff."""
        asked = fault.retry_after
        if asked is None:
            return self._backoff(waiting)
        jittered = asked * (1.0 + 0.1 * self.random.random())
        return min(jittered, LONGEST_WAIT) if asked <= LONGEST_WAIT else asked

    def _backoff(self, waiting: Waiting) -> float:
        """Full jitter: anything up to a bound that doubles with each try."""
        return self.random.random() * min(BACKOFF_LAST, BACKOFF_FIRST * 2.0**waiting.tries)

    def _keep(self, wanted: Callable[[Candidate], bool]) -> None:
        self.waiting = [w for w in self.waiting if wanted(w.candidate)]


def _larger(other: Candidate, failed: Candidate) -> bool:
    """Whether another candidate's model may take a prompt that was too long for the failed one's."""
    if other.public_model == failed.public_model:
        return False
    return not other.context or not failed.context or other.context > failed.context


_USEFUL = (  # from the least useful to the most; what is not here stands between the two halves
    (Kind.DEADLINE, Kind.DIVERGED, Kind.UPSTREAM_AUTH, Kind.UPSTREAM_NOT_FOUND),
    (Kind.UPSTREAM_OVERLOADED, Kind.UPSTREAM_RATE_LIMITED, Kind.CONTENT_FILTER, Kind.CONTEXT_LENGTH,
     Kind.PROVIDER_REJECTED),
)  # fmt: skip
USEFULNESS = {kind: i - len(_USEFUL[0]) for i, kind in enumerate(_USEFUL[0])} | {
    kind: i + 1 for i, kind in enumerate(_USEFUL[1])
}


def more_useful(old: Fault | None, new: Fault) -> Fault:
    """Of two faults the one that helps the client more: its own mistake, then a wait, then a failure, then what only
    the operator can mend; of equals the later, of two waits the shorter."""
    if old is None:
        return new
    before, after = USEFULNESS.get(old.kind, 0), USEFULNESS.get(new.kind, 0)
    if before == after and old.retry_after is not None and new.retry_after is not None:
        return min(old, new, key=lambda fault: fault.retry_after or 0.0)
    return new if after >= before else old
