"""Where the attempts of a race report, and who starts them as the plan says."""

from __future__ import annotations

import math

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.receipt import AttemptRecord
from fastanchor.engine.attempt import Answer, Attempt
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.traffic import Traffic
from fastanchor.engine.upstreams import Upstreams
from fastanchor.policy.asked import Start
from fastanchor.policy.plan import Plan


def begin(exchange: Exchange, plan: Plan, traffic: Traffic) -> list[Start]:
    """What the plan starts now. What stood before it in rank and could not be started is noted as skipped."""
    now = exchange.now()
    if exchange.underway is not None and not plan.started:
        return [plan.under_way(exchange.began), *traffic.steps(plan, now)]
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


class Finish:
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
            self.start(nursery, begin(exchange, plan, traffic))
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

    def start(self, nursery: trio.Nursery, starts: list[Start]) -> None:
        """Each as a task of its own."""
        for start in starts:
            attempt = Attempt(self.exchange, self.pool, self.traffic, start)
            nursery.start_soon(self.run, attempt, name="attempt")

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

    def told(self, over: Fault | None) -> Answer:
        """The answer that won, the losers accounted for. Raises the fault when there is none."""
        answer = self.answer
        if answer is None:
            raise over or Fault(Kind.SERVICE_UNAVAILABLE)
        for attempt in self.attempts:
            if attempt is not answer.attempt:
                attempt.lost()
        return answer

    def drop(self) -> None:
        """Nobody wants the answer any more: its client left in the very moment of the win."""
        if self.answer is not None:
            self.answer.close()
