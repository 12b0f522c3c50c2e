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
from fastanchor.policy.plan import Plan, Start
from fastanchor.wire.pool import Pool


@asynccontextmanager
async def race(exchange: Exchange, plan: Plan, pool: Pool) -> AsyncIterator[Answer]:
    """The winning answer, closed when the block is left.

    Raises:
        Fault: no candidate answered; the most useful fault of all attempts.
    """
    answer = await (one_by_one if plan.alone else beside_each_other)(exchange, plan, pool)
    exchange.channel = answer.candidate.channel.name
    exchange.provider = answer.candidate.channel.provider
    exchange.served_model = answer.candidate.model
    try:
        yield answer
    finally:
        answer.close()


async def one_by_one(exchange: Exchange, plan: Plan, pool: Pool) -> Answer:
    """At most one attempt at a time."""
    while True:
        for start in plan.steps(trio.current_time()):
            try:
                answer = await Attempt(exchange, pool, start).run()
            except Fault as fault:
                plan.failed(start.attempt, fault, trio.current_time())
            else:
                plan.won(start.attempt, trio.current_time())
                return answer
        await _pause(plan)


async def _pause(plan: Plan) -> None:
    """Sleep until the plan wants to be asked again. Raises the plan's fault when there is nothing to wait for."""
    over = plan.over
    if over is not None:
        raise over
    wake = plan.wake(trio.current_time())
    if wake is not None:
        await trio.sleep_until(wake)


class _Finish:
    """Where attempts report, and what the race waits for."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
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
                self.plan.won(start.attempt, trio.current_time())
                self.answer = answer
        self.changed.set()


async def beside_each_other(exchange: Exchange, plan: Plan, pool: Pool) -> Answer:
    """Several attempts may run at once; the first to speak wins and the others are cancelled."""
    finish = _Finish(plan)
    try:
        async with trio.open_nursery() as nursery:
            while finish.answer is None and plan.over is None:
                for start in plan.steps(trio.current_time()):
                    nursery.start_soon(finish.run, Attempt(exchange, pool, start), start, name="attempt")
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
        raise plan.over or Fault(Kind.INTERNAL_ERROR)
    return finish.answer
