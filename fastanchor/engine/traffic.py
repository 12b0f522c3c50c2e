"""What one worker's requests share: the health of channels, the waiting room, the budgets of hedges."""

from __future__ import annotations

import math

import trio

from fastanchor.core.channel import Channel
from fastanchor.core.route import Route
from fastanchor.policy.asked import Start
from fastanchor.policy.budget import Budget
from fastanchor.policy.health import Health
from fastanchor.policy.plan import Plan
from fastanchor.policy.room import Room, Ticket


class Traffic:
    """Living state, kept across reloads of the configuration."""

    def __init__(self) -> None:
        self.health = Health()
        self.room = Room()
        self._hedges: dict[str, Budget] = {}

    def hedges(self, route: Route) -> Budget:
        """The hedge budget of a route."""
        budget = self._hedges.get(route.model)
        if budget is None or budget.share != route.hedge.max_share:
            budget = self._hedges[route.model] = Budget(route.hedge.max_share)
        return budget

    def steps(self, plan: Plan, now: float) -> list[Start]:
        """What the plan starts now; a place that it was given and does not take goes to the next in the room."""
        starts = plan.steps(now)
        if plan.offered:
            self._come_for(plan)
        return starts

    def ended(self, channel: Channel, key: int) -> None:
        """An attempt at this channel is over: its place goes to whoever waits for one."""
        self.health.ended(channel, key)
        if self.room:
            self._offer(channel.name)

    def _offer(self, name: str) -> None:
        concurrency = self.health.channels[name].concurrency
        while not concurrency.full and self.room.freed(name):
            concurrency.promised += 1

    def _come_for(self, plan: Plan) -> None:
        """The promise is kept or declined: either way it is none any more."""
        name, plan.offered = plan.offered, ""
        self.health.channels[name].concurrency.promised -= 1
        self._offer(name)

    async def pause(self, plan: Plan) -> None:
        """Sleep until the plan can be asked again: at its own time, or when a place that it waits for is free.

        Raises:
            Fault: there is nothing to wait for.
        """
        now = trio.current_time()
        fault = plan.verdict(now)
        if fault is not None:
            raise fault
        wake = plan.wake(now)
        if not plan.blocked:
            await trio.sleep_until(now if wake is None else wake)
            return
        called = trio.Event()

        def call(channel: str) -> None:
            plan.offered = channel
            called.set()

        ticket = Ticket(plan.asked.organization, plan.blocked, call)
        self.room.enter(ticket)
        try:
            with trio.CancelScope(deadline=math.inf if wake is None else wake):
                await called.wait()
        except BaseException:
            if plan.offered:
                self._come_for(plan)
            raise
        finally:
            self.room.leave(ticket)
