"""Carries out a plan: starts attempts when it says so, and hands over the one that answers first.

All decisions are the plan's. Attempts that only ever run one at a time need no nursery; others are tasks of one, and
the losers die with its scope.
"""

from __future__ import annotations

import math

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.receipt import AttemptRecord
from fastanchor.engine.attempt import Answer, Attempt
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.nursery import unwrapped
from fastanchor.engine.traffic import Traffic
from fastanchor.engine.upstreams import Upstreams
from fastanchor.policy.asked import Start
from fastanchor.policy.plan import Plan


async def race(exchange: Exchange, plan: Plan, pool: Upstreams, traffic: Traffic) -> Answer:
    """The winning answer; whoever gets it closes it.

    Raises:
        Fault: no candidate answered; the most useful fault of all attempts.
    """
    answer = await (one_by_one if plan.alone else beside_each_other)(exchange, plan, pool, traffic)
    winner = answer.attempt
    exchange.channel = winner.candidate.channel.name
    exchange.provider = winner.candidate.channel.provider
    exchange.served_model = winner.candidate.model
    exchange.public_model = winner.candidate.public_model
    exchange.dropped = winner.dropped
    exchange.usage = answer.usage
    if exchange.first_token is None:
        exchange.first_token = exchange.now()
    return answer


def begin(exchange: Exchange, plan: Plan, traffic: Traffic) -> list[Start]:
    """What the plan starts now. What stood before it in rank and could not be started is noted as skipped."""
    now = exchange.now()
    starts = traffic.steps(plan, now)
    for start in starts:
        if start.why == "first":
            _note_skipped(exchange, plan, start, now)
    return starts


def _note_skipped(exchange: Exchange, plan: Plan, start: Start, now: float) -> None:
    for candidate, why in plan.skipped(start.candidate, now):
        exchange.attempts.append(
            AttemptRecord(
                channel=candidate.channel.name,
                model=candidate.model,
                key=candidate.key,
                why=why,
                outcome="skipped",
                started=now - exchange.began,
            )
        )


async def one_by_one(exchange: Exchange, plan: Plan, pool: Upstreams, traffic: Traffic) -> Answer:
    """At most one attempt at a time."""
    while True:
        starts = begin(exchange, plan, traffic)
        if not starts:
            await traffic.pause(plan)
        for start in starts:
            try:
                answer = await Attempt(exchange, pool, traffic, start).run()
            except Fault as fault:
                plan.failed(start.attempt, fault, exchange.now())
            else:
                plan.won(start.attempt, exchange.now())
                return answer


class _Finish:
    """Where attempts report, and what the race waits for."""

    def __init__(self, exchange: Exchange, plan: Plan, pool: Upstreams, traffic: Traffic) -> None:
        self.exchange = exchange
        self.plan = plan
        self.pool = pool
        self.traffic = traffic
        self.attempts: list[Attempt] = []
        self.answer: Answer | None = None
        self.changed = trio.Event()

    async def reached(self, nursery: trio.Nursery) -> Fault | None:
        """Start attempts as the plan says until one has won (None), or none can (the fault to tell)."""
        exchange, plan, traffic = self.exchange, self.plan, self.traffic
        while self.answer is None:
            for start in begin(exchange, plan, traffic):
                nursery.start_soon(self.run, Attempt(exchange, self.pool, traffic, start), name="attempt")
            if not plan.alive:
                try:
                    await traffic.pause(plan)
                except Fault as fault:
                    return fault
                continue
            wake = plan.wake(exchange.now())
            with trio.CancelScope(deadline=math.inf if wake is None else wake):
                await self.changed.wait()
            self.changed = trio.Event()
            over = None if self.answer is not None else plan.verdict(exchange.now())
            if over is not None:
                return over
        return None

    async def run(self, attempt: Attempt) -> None:
        """One attempt, from its start to its report."""
        self.attempts.append(attempt)
        try:
            answer = await attempt.run()
        except Fault as fault:
            if self.answer is None:
                self.plan.failed(attempt.start.attempt, fault, self.exchange.now())
        else:
            if self.answer is None:
                self._won(answer)
            else:  # another won in the same turn of the loop
                answer.close()
        self.changed.set()

    def _won(self, answer: Answer) -> None:
        now = self.exchange.now()
        self.answer = answer
        for candidate, waited in self.plan.won(answer.attempt.start.attempt, now):
            self.traffic.health.overtaken(candidate.channel, waited, now)

    def account(self) -> None:
        """What the losers cost."""
        for attempt in self.attempts:
            if self.answer is not None and attempt is not self.answer.attempt:
                attempt.lost()


async def beside_each_other(exchange: Exchange, plan: Plan, pool: Upstreams, traffic: Traffic) -> Answer:
    """Several attempts may run at once; the first to speak wins and the others are cancelled."""
    finish = _Finish(exchange, plan, pool, traffic)
    over: Fault | None = None
    try:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                over = await finish.reached(nursery)
                nursery.cancel_scope.cancel()
    except BaseException:
        if finish.answer is not None:  # the client left in the very moment of the win
            finish.answer.close()
        raise
    finish.account()
    if finish.answer is None:
        raise over or Fault(Kind.SERVICE_UNAVAILABLE)
    return finish.answer
