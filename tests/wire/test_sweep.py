"""The sweeper: deadlines that pass together fire in portions, and only for those who are still looked after."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from fastanchor.wire.sweep import AT_ONCE, PERIOD, sweeper


class Alarm:
    """A deadline that has passed."""

    def __init__(self, rang: Callable[[], None]) -> None:
        self.deadline = 0.0
        self._rang = rang

    def expire(self) -> None:
        self.deadline = math.inf
        self._rang()


async def test_others_have_their_turn_between_two_portions() -> None:
    rung = most = before = 0

    def rang() -> None:
        nonlocal rung
        rung += 1

    for _ in range(10 * AT_ONCE):
        sweeper().add(Alarm(rang))
    with trio.fail_after(10):
        while rung < 10 * AT_ONCE:
            await trio.lowlevel.checkpoint()
            most, before = max(most, rung - before), rung
    assert most <= 2 * AT_ONCE  # two portions, where trio runs the sweeper last in one pass and first in the next


async def test_who_is_discarded_meanwhile_is_left_alone() -> None:
    alarms: list[Alarm] = []
    rung = 0

    def rang() -> None:
        nonlocal rung
        rung += 1
        if rung == 1:
            for alarm in alarms:
                sweeper().discard(alarm)

    alarms += [Alarm(rang) for _ in range(10 * AT_ONCE)]
    for alarm in alarms:
        sweeper().add(alarm)
    await trio.sleep(2 * PERIOD)
    assert rung == 1
