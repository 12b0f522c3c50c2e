"""What an attempt that is given up is settled with, by its channel's `on_cancel`: once, and nothing stays behind."""

from __future__ import annotations

from typing import Literal

import orjson
import pytest
import trio

from fastanchor.core.channel import OnCancel
from fastanchor.core.model import ModelCard, PriceTier
from fastanchor.core.receipt import Receipt
from fastanchor.core.route import Route
from fastanchor.core.snapshot import Snapshot
from fastanchor.engine import settling
from fastanchor.lab.client import MemoryReply, MemoryRequest
from fastanchor.lab.fault import GOOD, Fault
from fastanchor.lab.stage import CHAT, Stage
from fastanchor.wire import errors as wire
from fastanchor.wire.message import Reply
from tests.engine.test_leaving_sockets import PIECE, ROLE, VERSIONS, Http2, client
from tests.kit import gateway as sockets
from tests.kit.stage import channel, chat, pair, world
from tests.kit.upstream import SSE, Seen, upstream

CARDS = {"m": ModelCard("m", prices=(PriceTier(input=1_000_000, output=2_000_000),))}
LATE = Fault("late", "ttft5000")
SILENT = Fault("silent", error=wire.ResponseTimeout, after=3600.0)
LONG = Fault("long", "n60000")
POLICIES: tuple[OnCancel, ...] = ("estimate", "drain", "void")
ALL = pytest.mark.parametrize("policy", POLICIES)


def one(policy: OnCancel) -> Snapshot:
    return world(channel("main", on_cancel=policy), cards=CARDS)


async def left(stage: Stage, after: float, *, ending: str = "", stream: bool = True) -> Receipt:
    """The receipt of a client that leaves (or whose request is ended) `after` so many seconds, once all is at rest."""
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.gateway.settling.run)
        with trio.move_on_after(after):
            async with trio.open_nursery() as asking:
                asking.start_soon(stage.ask_into, MemoryReply(), chat(stream=stream))
                if ending:
                    await trio.sleep(after / 2)
                    ((exchange, _),) = stage.gateway.running.values()
                    exchange.ending = ending
        assert stage.gateway.in_flight == 0
        with trio.fail_after(120):
            while not stage.idle:  # noqa: ASYNC110 - the stage is asked, it tells nobody
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    (receipt,) = stage.receipts
    return receipt


async def whole() -> Receipt:
    """The receipt of the same request whose client stays."""
    return (await Stage(one("estimate")).ask(chat())).receipt


def told(receipt: Receipt, n: int = 0) -> tuple[int | None, int | None, bool, bool]:
    """Input, output, estimated, and whether it costs something: of one attempt."""
    usage = receipt.attempts[n].usage
    assert usage is not None
    return usage.input, usage.output, usage.estimated, receipt.attempts[n].cost > 0


@ALL
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
async def test_left_before_the_first_content(policy: OnCancel, stream: bool, autojump_clock: object) -> None:
    began = trio.current_time()
    stage = Stage(one(policy), {"main": LATE})
    receipt = await left(stage, 1.0, stream=stream)
    assert told(receipt) == ((0, 0, False, False) if policy == "void" else (told(receipt)[0], 0, True, True))
    assert stage.upstreams["main"].closed_at == [pytest.approx(began + 1.0)]


@pytest.mark.parametrize("policy", ["estimate", "void"])
async def test_left_in_mid_stream_is_settled_by_what_was_seen(policy: OnCancel, autojump_clock: object) -> None:
    began = trio.current_time()
    stage = Stage(one(policy))
    receipt = await left(stage, 0.5)
    _, output, estimated, paid = told(receipt)
    assert estimated
    assert paid
    assert 0 < (output or 0) < ((await whole()).usage.output or 0)
    assert receipt.usage == receipt.attempts[0].usage
    assert stage.upstreams["main"].closed_at == [pytest.approx(began + 0.5)]


async def test_left_in_mid_stream_and_drained_is_settled_by_the_providers_count(autojump_clock: object) -> None:
    receipt, full = await left(Stage(one("drain")), 0.5), await whole()
    assert receipt.ending == "client_gone"
    assert not receipt.usage.estimated
    assert (receipt.usage, receipt.cost) == (full.usage, full.cost)
    assert told(receipt) == told(full)


@ALL
async def test_a_lost_race(policy: OnCancel, autojump_clock: object) -> None:
    stage = Stage(world(*pair(on_cancel=policy), route=Route(race=2), cards=CARDS), {"main": SILENT, "spare": GOOD})
    outcome = await stage.ask(chat())
    assert outcome.attempts == ["main=lost", "spare=won"]
    prompt = told(outcome.receipt)[0]
    assert told(outcome.receipt) == ((0, 0, False, False) if policy == "void" else (prompt, 0, True, True))
    assert stage.upstreams["main"].closed_at[0] == pytest.approx(outcome.reply.pieces[0][0])
    assert stage.idle


@ALL
async def test_the_requests_deadline(policy: OnCancel, autojump_clock: object) -> None:
    stage = Stage(one(policy), {"main": LATE})
    receipt = (await stage.ask(chat(), x_fastanchor_timeout="1")).receipt
    assert receipt.attempts[0].outcome == "deadline"
    assert told(receipt) == ((0, 0, False, False) if policy == "void" else (told(receipt)[0], 0, True, True))
    assert stage.idle


async def test_what_is_drained_holds_its_place_and_nothing_of_the_client(autojump_clock: object) -> None:
    stage = Stage(one("drain"))
    places = stage.gateway.traffic.health.channels
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.gateway.settling.run)
        with trio.move_on_after(0.5):
            await stage.ask(chat())
        assert (stage.gateway.in_flight, stage.gateway.running, stage.receipts) == (0, {}, [])
        assert places["main"].concurrency.in_flight == 1
        nursery.cancel_scope.cancel()


async def test_who_cannot_be_written_to_any_more_is_drained_too(autojump_clock: object) -> None:
    stage, reply = Stage(one("drain")), MemoryReply()
    async with trio.open_nursery() as worker:
        await worker.start(stage.gateway.settling.run)

        async def leave() -> None:
            await trio.sleep(0.5)
            reply.gone = True

        worker.start_soon(leave)
        with pytest.raises(wire.ClientGone):
            await stage.gateway(MemoryRequest(b"POST", CHAT, [], orjson.dumps(chat())), reply)
        await trio.sleep(settling.DRAIN_SECONDS)
        worker.cancel_scope.cancel()
    assert [receipt.usage for receipt in stage.receipts] == [(await whole()).usage]
    assert stage.idle


async def test_draining_is_bounded_in_time(autojump_clock: object) -> None:
    began = trio.current_time()
    stage = Stage(one("drain"), {"main": LONG})
    receipt = await left(stage, 0.5)
    assert stage.upstreams["main"].closed_at == [pytest.approx(began + 0.5 + settling.DRAIN_SECONDS)]
    assert receipt.usage.estimated


async def test_draining_is_bounded_in_bytes(autojump_clock: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "DRAIN_BYTES", 1_000)
    began = trio.current_time()
    stage = Stage(one("drain"), {"main": LONG})
    assert (await left(stage, 0.5)).usage.estimated
    assert stage.upstreams["main"].closed_at[0] < began + 2.0


async def test_what_breaks_while_it_is_drained_is_settled_by_what_was_seen(autojump_clock: object) -> None:
    receipt = await left(Stage(one("drain"), {"main": Fault("cut", "cut40")}), 0.5)
    assert receipt.usage.estimated


async def test_what_an_operator_ends_is_not_read_on(autojump_clock: object) -> None:
    began = trio.current_time()
    stage = Stage(one("drain"))
    receipt = await left(stage, 0.5, ending="killed")
    assert (receipt.ending, receipt.usage.estimated) == ("killed", True)
    assert stage.upstreams["main"].closed_at == [pytest.approx(began + 0.5)]


async def test_a_worker_that_ends_settles_what_it_drains(autojump_clock: object) -> None:
    stage = Stage(one("drain"))
    async with trio.open_nursery() as worker:
        await worker.start(stage.gateway.settling.run)
        with trio.move_on_after(0.5):
            await stage.ask(chat())
        await trio.sleep(0.1)
        worker.cancel_scope.cancel()
    assert [receipt.usage.estimated for receipt in stage.receipts] == [True]
    assert stage.idle


@pytest.mark.parametrize("when", ["before", "after"])
async def test_nothing_is_drained_beside_a_worker(when: Literal["before", "after"], autojump_clock: object) -> None:
    stage = Stage(one("drain"))
    if when == "after":
        async with trio.open_nursery() as worker:
            await worker.start(stage.gateway.settling.run)
            worker.cancel_scope.cancel()
    with trio.move_on_after(0.5):
        await stage.ask(chat())
    assert [receipt.usage.estimated for receipt in stage.receipts] == [True]
    assert stage.idle


async def test_a_bug_of_ours_while_draining_is_settled_all_the_same(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(settling, "relay", broken)
    assert (await left(Stage(one("drain")), 0.5)).usage.estimated


@VERSIONS
async def test_over_sockets(http2: Http2) -> None:
    first, gone = trio.Event(), trio.Event()

    async def answer(seen: Seen, reply: Reply) -> None:
        await reply.start(200, [SSE], ROLE + PIECE)
        await gone.wait()
        await reply.send(PIECE + b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
        await reply.send(b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n')
        await reply.finish(b"data: [DONE]\n\n")

    async with upstream(answer) as stub:
        only = sockets.channel(stub.url, http2=http2, on_cancel="drain")
        async with sockets.running(sockets.world(only)) as gateway, trio.open_nursery() as worker:
            await worker.start(gateway.gateway.settling.run)
            async with client(gateway, http2, stream=True, first=first):
                await first.wait()
            with trio.fail_after(60):
                while gateway.gateway.in_flight:  # noqa: ASYNC110 - a plain counter
                    await trio.sleep(0.001)
            assert gateway.receipts == []
            gone.set()
            (receipt,) = await gateway.settled()
            worker.cancel_scope.cancel()
    usage = receipt.usage
    assert (receipt.ending, usage.input, usage.output, usage.estimated) == ("client_gone", 7, 5, False)
