"""Carries out a plan: starts attempts when it says so, and hands over the one that answers first.

All decisions are the plan's. Attempts that only ever run one at a time need no nursery; others are tasks of one, and
the losers die with its scope.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.engine.attempt import Answer, Attempt
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.traffic import Traffic
from fastanchor.policy.plan import Plan, Start
from fastanchor.wire.pool import Pool


@asynccontextmanager
async def race(exchange: Exchange, plan: Plan, pool: Pool, traffic: Traffic) -> AsyncIterator[Answer]:
    """The winning answer, closed when the block is left.

    Raises:
        Fault: no candidate answered; the most useful fault of all attempts.
    """
    answer = await (one_by_one if plan.alone else beside_each_other)(exchange, plan, pool, traffic)
    exchange.channel = answer.candidate.channel.name
    exchange.provider = answer.candidate.channel.provider
    exchange.served_model = answer.candidate.model
    try:
        yield answer
    finally:
        answer.close()


async def one_by_one(exchange: Exchange, plan: Plan, pool: Pool, traffic: Traffic) -> Answer:
    """At most one attempt at a time."""
    while True:
        for start in plan.steps(trio.current_time()):
            try:
                answer = await Attempt(exchange, pool, traffic, start).run()
            except Fault as fault:
                plan.failed(start.attempt, fault, trio.current_time())
            else:
                plan.won(start.attempt, trio.current_time())
                return answer
        else:
            await traffic.pause(plan)


class _Finish:
    """Where attempts report, and what the race waits for."""

    def __init__(self, plan: Plan, traffic: Traffic) -> None:
        self.plan = plan
        self.traffic = traffic
        self.answer: Answer | None = None
        self.changed = trio.Event()

    async def run(self, attempt: Attempt, start: Start) -> None:
        try:
            answer = await attempt.run()
        except Fault as fault:
            self.plan.failed(start.attempt, fault, trio.current_time())
        else:
            if self.answer is not None:  # another won in the same turn of the loop
                answer.close()
            else:
                for overtaken in self.plan.won(start.attempt, trio.current_time()):
                    self.traffic.health.broke(overtaken.channel, Fault(Kind.SILENT), trio.current_time())
                self.answer = answer
        self.changed.set()


async def beside_each_other(exchange: Exchange, plan: Plan, pool: Pool, traffic: Traffic) -> Answer:
    """Several attempts may run at once; the first to speak wins and the others are cancelled."""
    finish = _Finish(plan, traffic)
    over = Fault(Kind.SERVICE_UNAVAILABLE)
    try:
        async with trio.open_nursery() as nursery:
            while finish.answer is None:
                for start in plan.steps(trio.current_time()):
                    nursery.start_soon(finish.run, Attempt(exchange, pool, traffic, start), start, name="attempt")
                if not plan.alive:
                    try:
                        await traffic.pause(plan)
                    except Fault as fault:
                        over = fault
                        break
                    continue
                wake = plan.wake(trio.current_time())
                with trio.CancelScope(deadline=math.inf if wake is None else wake):
                    await finish.changed.wait()
                finish.changed = trio.Event()
            nursery.cancel_scope.cancel()
    except BaseException:
        if finish.answer is not None:  # the client left in the very moment of the win
            finish.answer.close()
        raise
    if finish.answer is None:
        raise over
    return finish.answer
