"""Carries out a plan: starts attempts when it says so, and hands over the one that answers first.

All decisions are the plan's. Attempts that only ever run one at a time need no nursery, and neither does one that has
long to go until it is hedged; others are tasks of a nursery, and the losers die with its scope.
"""

from __future__ import annotations

import math

import trio

from fastanchor.core.faults import Fault
from fastanchor.engine.aside import Aside
from fastanchor.engine.attempt import Answer, Attempt
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.finish import Finish, begin
from fastanchor.engine.nursery import unwrapped
from fastanchor.engine.traffic import Traffic
from fastanchor.engine.upstreams import Upstreams
from fastanchor.policy.asked import Start
from fastanchor.policy.plan import Plan

SOON = 1.0
"""Seconds. Who may need a second attempt this early gets a nursery at once: the sweeper is not that exact."""


async def race(exchange: Exchange, plan: Plan, pool: Upstreams, traffic: Traffic) -> Answer:
    """The winning answer; whoever gets it closes it.

    Raises:
        Fault: no candidate answered; the most useful fault of all attempts.
    """
    if plan.alone:
        answer = await one_by_one(exchange, plan, pool, traffic)
    else:
        answer = await first_alone(exchange, plan, pool, traffic)
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


async def first_alone(exchange: Exchange, plan: Plan, pool: Upstreams, traffic: Traffic) -> Answer:
    """One attempt in this very task, and the others beside it once it is late."""
    finish = Finish(exchange, plan, pool, traffic)
    starts = begin(exchange, plan, traffic)
    now = exchange.now()
    wake = plan.wake(now)
    if len(starts) != 1 or (wake is not None and wake - now < SOON):
        return await beside_each_other(finish, starts)
    aside = Aside(finish, math.inf if wake is None else wake)
    aside.watch()
    try:
        with aside.first:
            await finish.run(Attempt(exchange, pool, traffic, starts[0]))
        if aside.done is not None and finish.answer is None:
            await aside.done.wait()
    except BaseException:
        finish.drop()
        raise
    finally:
        await aside.close()
    if aside.error is not None:
        finish.drop()
        raise aside.error
    if finish.answer is None and aside.done is None:
        return await beside_each_other(finish, [])
    return finish.told(aside.over)


async def beside_each_other(finish: Finish, starts: list[Start]) -> Answer:
    """Several attempts may run at once; the first to speak wins and the others are cancelled. `starts` are those that
    the plan has already decided."""
    over: Fault | None = None
    try:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                finish.start(nursery, starts)
                over = await finish.reached(nursery)
                nursery.cancel_scope.cancel()
    except BaseException:
        finish.drop()
        raise
    return finish.told(over)
