"""Cancellation, under a virtual clock: wherever a request is when its client goes, its upstream is let go in the same
moment, and nothing stays in flight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import trio

from fastanchor.core.channel import Secret
from fastanchor.core.route import Hedge, Route
from fastanchor.core.snapshot import Snapshot
from fastanchor.engine.attempt import Attempt
from fastanchor.lab.client import MemoryReply
from fastanchor.lab.fault import GOOD, Fault, retry_after
from fastanchor.lab.stage import Stage
from fastanchor.wire import errors as wire
from tests.kit.stage import channel, chat, pair, world

CONNECTING = Fault("connecting", error=wire.ConnectFailed, after=60.0)
SILENT = Fault("silent", error=wire.ResponseTimeout, after=3600.0)
BUSY = Fault("429", status=429, headers=retry_after(b"20"))


PAIR = world(*pair())


@dataclass(frozen=True)
class Place:
    """Where a request is `after` so many seconds, with these faults."""

    name: str
    faults: dict[str, Fault]
    after: float
    world: Snapshot = PAIR
    stream: bool = True
    sent: int = 1  # upstream requests by then


PLACES = [
    Place("connecting", {"main": CONNECTING}, 1.0),
    Place("head", {"main": SILENT}, 1.0),
    Place("head of a plain answer", {"main": SILENT}, 1.0, stream=False),
    Place("first token", {"main": Fault("late", "ttft5000")}, 1.0),
    Place("plain answer", {"main": Fault("late", "ttft5000")}, 1.0, stream=False),
    Place("mid-stream", {}, 0.5),
    Place("stalled", {"main": Fault("stall", "stall20")}, 5.0),
    Place("stalled with keep-alive", {"main": Fault("stall", "stall20")}, 5.0, world(*pair(), keep_alive=1.0)),
    Place("both of a race", {"main": SILENT, "spare": SILENT}, 1.0, world(*pair(), route=Route(race=2)), sent=2),
    Place("hedge", {"main": SILENT, "spare": SILENT}, 12.0, sent=2),
    Place("backing off", {"main": BUSY}, 5.0, world(channel("main"))),
    Place("rescue", {"main": Fault("cut", "cut20"), "spare": Fault("late", "ttft5000")}, 3.0, sent=2),
    Place("rescue with keep-alive", {"main": Fault("cut", "cut20"), "spare": SILENT}, 5.0,
          world(*pair(), keep_alive=1.0), sent=2),
    Place("held back", {}, 0.5, world(*pair(), route=Route(rescue="restart"))),
    Place("second attempt", {"main": Fault("500", "fail500"), "spare": SILENT}, 1.0,
          world(*pair(), route=Route(hedge=Hedge(after=None))), sent=2),
]  # fmt: skip


async def go(stage: Stage, place: Place, leave: Callable[[trio.Nursery, MemoryReply], None]) -> MemoryReply:
    """Ask, wait until the request is there, and leave."""
    reply = MemoryReply()

    async def ask() -> None:
        await stage.ask_into(reply, chat(stream=place.stream))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(place.after)
        assert sum(len(one.seen) for one in stage.upstreams.values()) == place.sent
        assert stage.gateway.in_flight == 1
        leave(nursery, reply)
    return reply


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
async def test_a_client_that_hangs_up(place: Place, autojump_clock: object) -> None:
    stage = Stage(place.world, place.faults)
    began = trio.current_time()
    reply = await go(stage, place, lambda nursery, _: nursery.cancel_scope.cancel())
    assert trio.current_time() == pytest.approx(began + place.after)
    assert stage.idle
    assert reply.ended == ""
    assert [receipt.ending for receipt in stage.receipts] == ["client_gone"]
    assert stage.receipts[0].status == (200 if reply.started else 499)


@pytest.mark.parametrize("keep_alive", [0.0, 1.0])
async def test_a_client_that_cannot_be_written_to(keep_alive: float, autojump_clock: object) -> None:
    place = Place("mid-stream", {}, 0.5, world(*pair(), keep_alive=keep_alive))
    stage = Stage(place.world, place.faults)

    def leave(nursery: trio.Nursery, reply: MemoryReply) -> None:
        reply.gone = True

    with pytest.RaisesGroup(wire.ClientGone):
        await go(stage, place, leave)
    assert stage.idle
    assert [receipt.ending for receipt in stage.receipts] == ["client_gone"]


async def test_a_client_that_is_gone_when_a_rescue_keeps_it_alive(autojump_clock: object) -> None:
    faults = {"main": Fault("cut", "cut20"), "spare": SILENT}
    stage = Stage(world(*pair(), keep_alive=1.0), faults)
    place = Place("rescue", faults, 3.0, sent=2)

    def leave(nursery: trio.Nursery, reply: MemoryReply) -> None:
        reply.gone = True

    began = trio.current_time()
    with pytest.RaisesGroup(wire.ClientGone):
        await go(stage, place, leave)
    assert trio.current_time() - began < 5.0
    assert stage.idle
    assert [receipt.ending for receipt in stage.receipts] == ["client_gone"]


async def test_leaving_the_waiting_room(autojump_clock: object) -> None:
    stage = Stage(world(channel("main", max_concurrency=1)), {"main": Fault("long", "n600")})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.ask, chat())
        await trio.sleep(0.1)
        with trio.move_on_after(1.0):
            await stage.ask(chat())
        assert len(stage.gateway.traffic.room) == 0
        assert len(stage.upstreams["main"].seen) == 1
        nursery.start_soon(stage.ask, chat())
    assert stage.idle
    assert sorted(receipt.ending for receipt in stage.receipts) == ["client_gone", "done", "service_unavailable"]


async def test_a_place_that_is_promised_to_a_client_who_leaves_goes_to_the_next(autojump_clock: object) -> None:
    stage = Stage(world(channel("main", max_concurrency=1)))
    endings: list[str] = []

    async def ask(patience: float) -> None:
        with trio.move_on_after(patience):
            await stage.ask(chat())
        endings.append(stage.receipts[-1].ending)

    async with trio.open_nursery() as nursery:
        for patience in (60.0, 1.23, 60.0):  # the second leaves in the moment in which the first ends
            nursery.start_soon(ask, patience)
            await trio.sleep(0.001)
    assert stage.idle
    assert endings.count("done") == 2


async def test_losers_are_closed_in_the_moment_of_the_win(autojump_clock: object) -> None:
    stage = Stage(world(*pair(), route=Route(race=2)), {"main": SILENT, "spare": GOOD})
    outcome = await stage.ask(chat())
    assert outcome.receipt.channel == "spare"
    assert stage.upstreams["main"].closed_at[0] == pytest.approx(outcome.reply.pieces[0][0])


async def test_neighbours_of_a_left_stream_do_not_notice(autojump_clock: object) -> None:
    keys = (Secret("a"), Secret("b"))
    stage = Stage(world(channel("main", keys=keys)))
    async with trio.open_nursery() as nursery:
        for i in range(20):
            if i % 2:
                nursery.start_soon(stage.ask, chat())
            else:

                async def leave() -> None:
                    with trio.move_on_after(0.3):
                        await stage.ask(chat())

                nursery.start_soon(leave)
    assert sorted(receipt.ending for receipt in stage.receipts) == ["client_gone"] * 10 + ["done"] * 10
    assert stage.idle


ROUTES = {"hedge": Route(), "race": Route(race=2), "one by one": Route(hedge=Hedge(after=None))}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
async def test_a_bug_of_ours_costs_one_request(
    route: Route, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(world(*pair(), route=route))

    def broken(*_: object) -> bytes:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("fastanchor.engine.attempt.Attempt._prepare", broken)
        outcome = await stage.ask(chat())
    assert (outcome.reply.status, outcome.receipt.ending) == (500, "internal_error")
    assert (await stage.ask(chat())).receipt.ending == "done"
    assert stage.idle


async def test_a_bug_of_ours_in_a_hedge_costs_one_request(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(world(*pair()), {"main": SILENT})
    prepare = Attempt._prepare

    def broken(attempt: Attempt) -> object:
        if attempt.candidate.channel.name == "spare":
            raise ZeroDivisionError
        return prepare(attempt)

    with monkeypatch.context() as patch:
        patch.setattr(Attempt, "_prepare", broken)
        outcome = await stage.ask(chat())
    assert (outcome.reply.status, outcome.receipt.ending) == (500, "internal_error")
    assert stage.idle
