"""Health of channels and keys, capacity and the waiting room, affinity: what many requests together bring about."""

from __future__ import annotations

import itertools
from dataclasses import replace
from hashlib import blake2b

import pytest
import trio

from fastanchor.core.channel import Secret
from fastanchor.core.principal import Principal
from fastanchor.core.route import Route
from fastanchor.lab.fault import Fault
from fastanchor.lab.judge import told
from fastanchor.lab.stage import Stage
from fastanchor.wire import errors as wire
from tests.kit.stage import channel, chat, pair, world

FAULTS = [
    Fault("down", error=wire.ConnectFailed),
    Fault("500", "fail500"),
    Fault("silent", error=wire.ResponseTimeout, after=3600.0),
    Fault("breaks off", "cut20"),
]
SEEN_SILENT = 40
"""Requests that come in the ten seconds that it takes to call a channel silent."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_an_outage_is_served_from_the_fallback_and_the_primary_is_soon_back(
    fault: Fault, autojump_clock: object
) -> None:
    stage = Stage(world(*pair()))
    fault_over = trio.current_time() + 30.0
    stage.upstreams["main"].fault = replace(fault, until=fault_over)
    back = 0.0
    outcomes = []

    async def ask() -> None:
        nonlocal back
        outcome = await stage.ask(chat())
        outcomes.append(told(outcome.reply))
        if outcome.receipt.channel == "main" and trio.current_time() > fault_over and not back:
            back = trio.current_time()

    async with trio.open_nursery() as nursery:
        for _ in range(240):
            nursery.start_soon(ask)
            await trio.sleep(0.25)
    assert set(outcomes) == {"whole"}
    assert sum(at < fault_over for at in stage.upstreams["main"].seen) <= 20 + SEEN_SILENT
    assert fault_over < back < fault_over + 30.0
    assert stage.idle


async def test_few_probes_go_to_a_channel_that_is_down(autojump_clock: object) -> None:
    stage = Stage(world(*pair()))
    stage.upstreams["main"].fault = Fault("down", error=wire.ConnectFailed)
    for _ in range(600):
        assert told((await stage.ask(chat(stream=False))).reply) == "whole"
        await trio.sleep(0.05)
    assert len(stage.upstreams["main"].seen) <= 5 + 10


async def test_all_down_is_told_at_once_with_a_wait(autojump_clock: object) -> None:
    stage = Stage(world(*pair()), {"main": Fault("500", "fail500"), "spare": Fault("500", "fail500")})
    for _ in range(6):
        await stage.ask(chat())
    outcome = await stage.ask(chat())
    assert (outcome.reply.status, outcome.seconds) == (503, pytest.approx(0.0, abs=0.01))
    assert int(outcome.reply.headers[b"retry-after"]) >= 1


async def test_a_bad_key_is_parked_and_the_others_serve(autojump_clock: object) -> None:
    keys = (Secret("bad"), Secret("good"))
    stage = Stage(world(channel("main", keys=keys)), {"main": Fault("401", status=401, first=1)})
    for _ in range(20):
        assert told((await stage.ask(chat())).reply) == "whole"
    outcomes = [a.outcome for receipt in stage.receipts for a in receipt.attempts]
    assert outcomes.count("upstream_auth") == 1
    assert len({a.key for receipt in stage.receipts for a in receipt.attempts if a.outcome == "won"}) == 1


async def test_a_bad_key_is_not_blamed_on_the_client(autojump_clock: object) -> None:
    stage = Stage(world(channel("main")), {"main": Fault("401", status=401)})
    first, second = await stage.ask(chat()), await stage.ask(chat())
    assert (first.reply.status, second.reply.status) == (502, 502)
    assert len(stage.upstreams["main"].seen) == 1


async def test_every_key_of_a_channel_is_used(autojump_clock: object) -> None:
    keys = tuple(Secret(f"k{i}") for i in range(3))
    stage = Stage(world(channel("main", keys=keys), route=Route(affinity=False)))
    for _ in range(60):
        await stage.ask(chat(stream=False))
    assert {receipt.attempts[0].key for receipt in stage.receipts} == {0, 1, 2}


# -- capacity ---------------------------------------------------------------------------------------------------------


async def test_a_cap_is_never_passed(autojump_clock: object) -> None:
    stage = Stage(world(channel("main", max_concurrency=3)))
    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(stage.ask, chat())
    assert stage.upstreams["main"].most_open == 3
    assert [receipt.ending for receipt in stage.receipts] == ["done"] * 12
    assert stage.idle


async def test_a_full_channel_overflows_to_the_next(autojump_clock: object) -> None:
    stage = Stage(world(channel("main", max_concurrency=2), channel("spare", 1)))
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(stage.ask, chat())
    assert sorted(receipt.channel for receipt in stage.receipts) == ["main"] * 2 + ["spare"] * 4
    skipped = [a.why for receipt in stage.receipts for a in receipt.attempts if a.outcome == "skipped"]
    assert skipped == ["full"] * 4


async def test_who_waits_too_long_gets_a_503_with_a_wait(autojump_clock: object) -> None:
    stage = Stage(world(channel("main", max_concurrency=1)), {"main": Fault("long", "n1500")})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.ask, chat())
        await trio.sleep(0.01)
        outcome = await stage.ask(chat())
        assert (outcome.reply.status, outcome.seconds) == (503, pytest.approx(10.0))
        assert outcome.reply.headers[b"retry-after"] == b"1"
        nursery.cancel_scope.cancel()
    assert stage.idle


async def test_the_waiting_room_is_fair_across_customers(autojump_clock: object) -> None:
    keys = {blake2b(name.encode(), digest_size=16).digest(): Principal(name, name, name) for name in ("loud", "quiet")}
    stage = Stage(world(channel("main", max_concurrency=1)))
    stage.gateway.world = replace(stage.world, auth=True, keys=keys)
    order: list[str] = []

    async def ask(who: str) -> None:
        await stage.ask(chat(stream=False), authorization=f"Bearer {who}")
        order.append(who)

    async with trio.open_nursery() as nursery:
        for who in ["loud"] * 8:
            nursery.start_soon(ask, who)
        await trio.sleep(0.01)
        nursery.start_soon(ask, "quiet")
    assert order.index("quiet") <= 2
    assert len(order) == 9


async def test_refusals_lower_what_is_in_flight_and_answers_raise_it(autojump_clock: object) -> None:
    stage = Stage(world(channel("main", max_concurrency=50)), {"main": Fault("503", "fail503", first=4)})
    for _ in range(4):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(stage.ask, chat(stream=False))
    limit = stage.gateway.traffic.health.channels["main"].concurrency.limit
    assert limit < 50
    for _ in range(100):
        await stage.ask(chat(stream=False))
    assert stage.gateway.traffic.health.channels["main"].concurrency.limit > limit


async def test_nobody_stays_in_the_room_when_a_place_is_free(autojump_clock: object) -> None:
    """Two channels with one place each, and waiters of both: no place idles while somebody waits for it."""
    stage = Stage(world(channel("main", max_concurrency=1), channel("spare", 1, max_concurrency=1)))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(stage.ask, chat())
    assert [receipt.ending for receipt in stage.receipts] == ["done"] * 10
    assert trio.current_time() - began == pytest.approx(5 * 1.23, abs=0.2)


# -- affinity ---------------------------------------------------------------------------------------------------------


def talk(turns: int, who: str = "a") -> dict[str, object]:
    """A conversation of so many turns."""
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Hello from {who}"}]
    for i in range(turns):
        said += [{"role": "assistant", "content": f"Answer {i}"}, {"role": "user", "content": f"Question {i}"}]
    return {"model": "m", "messages": said}


def three(**changes: object) -> Stage:
    return Stage(world(*(channel(name, **changes) for name in ("a", "b", "c"))))


async def served(stage: Stage, asked: list[dict[str, object]], **headers: str) -> list[str]:
    return [(await stage.ask(document, **headers)).receipt.channel for document in asked]


async def test_the_turns_of_a_conversation_stay_on_one_channel(autojump_clock: object) -> None:
    stage = three()
    homes = [set(await served(stage, [talk(i, who) for i in range(6)])) for who in "abcdefghij"]
    assert all(len(home) == 1 for home in homes)
    assert len(set(itertools.chain.from_iterable(homes))) > 1


@pytest.mark.parametrize("header", ["x_session_id", "x_session_affinity", "session_id", "x_claude_code_session_id"])
async def test_a_session_header_decides(header: str, autojump_clock: object) -> None:
    stage = three()
    asked = [talk(0, who) for who in "abcdefghij"]
    assert len(set(await served(stage, asked, **{header: "one"}))) == 1
    assert len(set(await served(stage, asked))) > 1


async def test_a_cache_key_decides(autojump_clock: object) -> None:
    stage = three()
    asked = [{**talk(0, who), "prompt_cache_key": "one"} for who in "abcdefghij"]
    assert len(set(await served(stage, asked))) == 1


async def test_without_affinity_conversations_wander(autojump_clock: object) -> None:
    stage = Stage(world(*(channel(name) for name in "abc"), route=Route(affinity=False)))
    assert len(set(await served(stage, [talk(i) for i in range(30)]))) == 3


async def test_a_conversation_leaves_a_channel_that_is_down(autojump_clock: object) -> None:
    stage = three()
    home = (await served(stage, [talk(0)]))[0]
    stage.upstreams[home].fault = Fault("500", "fail500")
    assert home not in await served(stage, [talk(1), talk(2)])


# -- the operator's caps ----------------------------------------------------------------------------------------------


async def test_a_rate_of_a_channel_overflows_to_the_next(autojump_clock: object) -> None:
    stage = Stage(world(channel("main", requests_per_minute=60), channel("spare", 1)))
    for _ in range(40):
        assert told((await stage.ask(chat(stream=False))).reply) == "whole"
        await trio.sleep(0.05)
    assert 10 <= len(stage.upstreams["main"].seen) <= 15
    assert len(stage.upstreams["spare"].seen) >= 25


async def test_a_rate_is_waited_for_where_there_is_no_other(autojump_clock: object) -> None:
    stage = Stage(world(channel("main", requests_per_minute=60)))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(15):
            nursery.start_soon(stage.ask, chat(stream=False))
    assert [receipt.ending for receipt in stage.receipts] == ["done"] * 15
    assert trio.current_time() - began == pytest.approx(5.0, abs=0.2)


async def test_a_cap_per_key_spreads_over_the_keys(autojump_clock: object) -> None:
    keys = tuple(Secret(f"k{i}") for i in range(3))
    stage = Stage(world(channel("main", keys=keys, key_concurrency=2)))
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(stage.ask, chat())
    assert stage.upstreams["main"].most_open == 6
    assert [receipt.ending for receipt in stage.receipts] == ["done"] * 8
    assert stage.idle


async def test_a_rate_per_key_spreads_over_the_keys(autojump_clock: object) -> None:
    keys = tuple(Secret(f"k{i}") for i in range(2))
    stage = Stage(world(channel("main", keys=keys, key_requests_per_minute=6)))
    for _ in range(2):
        await stage.ask(chat(stream=False))
    assert sorted(receipt.attempts[0].key for receipt in stage.receipts) == [0, 1]
    assert (await stage.ask(chat(stream=False))).seconds == pytest.approx(10.0, abs=0.3)
