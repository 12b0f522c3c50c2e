"""Newcomers go to the worker that has least open, unless it does not come for them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from fastanchor.wire import bind
from fastanchor.wire.occupancy import ABSENT, LEAD, MOST, PATIENCE, STEP, Floor, Occupancy, alone


def workers(*counts: int) -> list[Occupancy]:
    """Workers that have so much open."""
    floor = Floor(len(counts))
    found = [Occupancy(floor, seat) for seat in range(len(counts))]
    for worker, count in zip(found, counts, strict=True):
        worker.enter()
        worker.opened(count)
    return found


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with bind("127.0.0.1:0") as found:
        yield found


@pytest.fixture
def newcomer(listener: socket.socket) -> Iterator[socket.socket]:
    with socket.create_connection(listener.getsockname()) as found:
        yield found


@pytest.mark.parametrize(
    ("counts", "room"),
    [((0, 0), LEAD), ((LEAD, 0), 0), ((LEAD - 1, 0, 9), 1), ((0, 10, 20), 10 + LEAD), ((30, 10, 20), LEAD - 20)],
)
def test_a_worker_may_lead_the_least_of_the_others_by_so_many(counts: tuple[int, ...], room: int) -> None:
    assert workers(*counts)[0].room() == room


def test_one_alone_takes_all() -> None:
    one = alone()
    one.enter()
    one.opened(10_000)
    assert one.room() == MOST


def test_those_that_have_left_are_no_measure() -> None:
    busy, idle = workers(50, 0)
    idle.leave()
    idle.opened(-1)  # what it had open ends after it has left
    assert busy.room() == MOST


def test_one_that_comes_back_is_measured_by_what_it_has_open() -> None:
    floor = Floor(1)
    worker = Occupancy(floor, 0)
    worker.opened(3)
    assert floor[0] == ABSENT
    worker.enter()
    assert floor[0] == 3


def test_other_processes_see_it() -> None:
    floor = Floor(2)
    child = os.fork()
    if child == 0:
        Occupancy(floor, 1).enter()
        floor.note(1, 7)
        os._exit(0)
    os.waitpid(child, 0)
    assert floor.least(but=0) == 7


async def test_it_is_ones_turn_as_soon_as_somebody_comes(listener: socket.socket, newcomer: socket.socket) -> None:
    assert await workers(3, 1)[0].turn(listener) == LEAD - 2


async def test_newcomers_are_left_to_others_until_these_have_as_much(
    listener: socket.socket, newcomer: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    ahead, behind = workers(LEAD, 0)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def catch_up() -> None:
            await trio.sleep(5.5 * STEP)
            behind.opened(2)

        assert await ahead.turn(listener) == 2
    assert trio.current_time() - began == pytest.approx(6 * STEP)


async def test_where_nobody_else_comes_it_takes_some_after_all_and_more_each_time(
    listener: socket.socket, newcomer: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    ahead, _hangs = workers(10, 0)
    began = trio.current_time()
    assert [await ahead.turn(listener) for _ in range(6)] == [2 * LEAD, 4 * LEAD, 8 * LEAD, MOST, MOST, MOST]
    assert trio.current_time() - began == pytest.approx(6 * PATIENCE * STEP)


async def test_patience_begins_anew_when_others_have_taken_those_who_waited(
    listener: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    ahead, _ = workers(10, 0)
    where = listener.getsockname()
    with ExitStack() as open_:
        open_.enter_context(socket.create_connection(where))
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def another() -> None:
                await trio.sleep((PATIENCE - 1.5) * STEP)
                open_.enter_context(listener.accept()[0])
                await trio.sleep(1.0)
                open_.enter_context(socket.create_connection(where))

            began = trio.current_time()
            await ahead.turn(listener)
            assert trio.current_time() - began > 1.0 + PATIENCE * STEP
