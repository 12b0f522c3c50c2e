"""The fault matrix over real sockets: each fault × {stream, plain} × {with, without another channel}.

Times are those of short limits; the same cells with the default ones are in tests/lab, under a virtual clock.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

import orjson
import pytest
import trio

from fastanchor.core.channel import Channel
from fastanchor.core.route import Hedge, Route
from fastanchor.lab.judge import text_of
from tests.kit.demo import SHORT, demos
from tests.kit.gateway import Running, channel, running, world
from tests.kit.http import Got, post

ROUTE = Route(hedge=Hedge(after=0.5))
PATH = "/v1/chat/completions"
ENOUGH = 60.0
"""Seconds for any cell, on a very busy machine."""


def chat(*, stream: bool) -> dict[str, object]:
    return {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "What is an anchor?"}]}


BEFORE = [  # nothing of an answer has come
    "reset", "fail500", "fail502, html", "fail503", "fail504", "fail529", "fail408", "fail401", "fail403", "fail404",
    "fail429", "fail429r1", "fail429r99999", "empty", "malformed0", "errorinband0", "cut0", "end0", "stall0",
    "slowhead1500", "ttft1500",
]  # fmt: skip
MIDST = ["cut1", "cut40", "cut59", "end30", "stall20", "errorinband10"]
HARMLESS = ["n60", "nodone", "nousage", "ttft100"]
REFUSED = ["fail400", "fail422"]
STREAMS = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


@dataclass
class Cell:
    """What a client got, and the requests that each provider has seen."""

    got: Got
    text: str
    asked: list[int]


async def said(gateway: Running, *, stream: bool) -> Got:
    with trio.fail_after(ENOUGH):
        return await post(gateway.port, PATH, chat(stream=stream))


async def outcomes(gateway: Running) -> list[str]:
    """How each attempt of the last request ended."""
    return [attempt.outcome for attempt in (await gateway.settled())[-1].attempts]


def text(got: Got, *, stream: bool) -> str:
    return text_of(got.body, stream=stream) if got.status == 200 and got.whole else ""


async def cell(words: str, *, stream: bool, fallback: bool, route: Route = ROUTE) -> Cell:
    async with demos(2) as (main, spare):
        channels = [main.channel("main", words), *([spare.channel("spare", tier=1)] if fallback else [])]
        async with running(world(*channels, routes=(route,))) as gateway:
            got = await said(gateway, stream=stream)
            await nothing_left(gateway, channels)
            return Cell(got, text(got, stream=stream), [main.player.count, spare.player.count])


async def nothing_left(gateway: Running, channels: list[Channel]) -> None:
    """No request, place or connection stays in use."""
    await gateway.settled()
    health = gateway.gateway.traffic.health
    assert gateway.gateway.in_flight == 0
    assert all(health.of(c).concurrency.in_flight == 0 for c in channels)


GOOD: dict[bool, str] = {}
"""What an answer without a fault says, streamed or plain: asked for once."""


async def good(*, stream: bool) -> str:
    if stream not in GOOD:
        GOOD[stream] = (await cell("n60", stream=stream, fallback=False)).text
    return GOOD[stream]


@STREAMS
@pytest.mark.parametrize("words", BEFORE)
async def test_before_content_another_channel_hides_it(words: str, stream: bool) -> None:
    found = await cell(words, stream=stream, fallback=True)
    assert (found.got.status, found.got.whole) == (200, True)
    assert found.text == await good(stream=stream)
    assert found.asked == [1, 1]


@STREAMS
@pytest.mark.parametrize("words", BEFORE)
async def test_before_content_alone_it_is_told(words: str, stream: bool) -> None:
    found = await cell(words, stream=stream, fallback=False)
    if not stream and words in ("slowhead1500", "ttft1500"):  # whole answers have more time
        assert found.got.status == 200
        return
    error = found.got.json["error"]
    assert isinstance(error, dict)
    assert found.got.status in (429, 500, 502, 503)
    assert error["code"] in ("rate_limit", "upstream_error", "model_unavailable", "service_unavailable")
    assert found.got.whole
    assert 1 <= found.asked[0] <= 3
    if words in ("stall0", "slowhead1500", "ttft1500", "fail401", "fail403", "fail404", "fail429r99999"):
        assert found.asked[0] == 1


@pytest.mark.parametrize("words", MIDST)
async def test_in_the_midst_another_channel_goes_on(words: str) -> None:
    found = await cell(words, stream=True, fallback=True)
    assert found.got.whole
    assert found.text == await good(stream=True)
    assert len(found.text.split()) == 60
    assert found.asked == [1, 1]
    assert found.got.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("words", MIDST)
@pytest.mark.parametrize("rescue", ["off", "splice"])
async def test_in_the_midst_alone_it_is_told_and_never_looks_whole(words: str, rescue: str) -> None:
    found = await cell(words, stream=True, fallback=False, route=Route(rescue=rescue))  # type: ignore[arg-type]
    assert found.got.status == 200
    assert not found.got.whole
    assert b"[DONE]" not in found.got.body
    assert orjson.loads(found.got.body.rstrip().rpartition(b"data: ")[2])["error"]["code"]


@pytest.mark.parametrize("words", MIDST)
async def test_plain_answers_that_break_are_hidden(words: str) -> None:
    found = await cell(words, stream=False, fallback=True)
    assert found.text == await good(stream=False)


@STREAMS
@pytest.mark.parametrize("words", HARMLESS)
async def test_what_does_not_matter_costs_one_attempt(words: str, stream: bool) -> None:
    found = await cell(words, stream=stream, fallback=True)
    assert found.text == await good(stream=stream)
    assert found.asked == [1, 0]


async def test_a_bad_event_in_the_midst_is_left_out() -> None:
    found = await cell("malformed15", stream=True, fallback=True)
    assert found.text == await good(stream=True)
    assert found.asked == [1, 0]


@STREAMS
@pytest.mark.parametrize("words", REFUSED)
async def test_the_clients_own_mistake_is_told_once(words: str, stream: bool) -> None:
    found = await cell(words, stream=stream, fallback=True)
    assert found.got.status == int(words[4:7])
    assert found.asked == [1, 0]


@pytest.mark.parametrize("k", [0, 1, 2, 7, 13, 29, 30, 31, 58, 59])
async def test_cut_after_any_token_the_answer_comes_once(k: int) -> None:
    found = await cell(f"cut{k}", stream=True, fallback=True)
    assert found.text == await good(stream=True)


@STREAMS
async def test_nobody_listens(stream: bool) -> None:
    async with demos(1) as (spare,):
        dead = channel("http://127.0.0.1:1", name="main", timeouts=SHORT)
        async with running(world(dead, spare.channel("spare", tier=1))) as gateway:
            assert (await said(gateway, stream=stream)).status == 200
            assert await outcomes(gateway) == ["connect_failed", "won"]  # at once: nobody waited for a time to pass


@STREAMS
async def test_a_name_that_does_not_resolve(stream: bool) -> None:
    async with demos(1) as (spare,):
        lost = channel("http://no-such-host.invalid", name="main", timeouts=SHORT)
        async with running(world(lost, spare.channel("spare", tier=1))) as gateway:
            assert (await said(gateway, stream=stream)).status == 200


@STREAMS
async def test_a_port_that_accepts_and_says_nothing(stream: bool) -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(16)
        async with demos(1) as (spare,):
            black = channel(f"http://127.0.0.1:{hole.getsockname()[1]}", name="main", timeouts=SHORT)
            async with running(world(black, spare.channel("spare", tier=1), routes=(ROUTE,))) as gateway:
                assert (await said(gateway, stream=stream)).status == 200


@STREAMS
async def test_tls_where_there_is_none(stream: bool) -> None:
    async with demos(2) as (main, spare):
        wrong = channel(f"https://127.0.0.1:{main.port}", name="main", timeouts=SHORT)
        async with running(world(wrong, spare.channel("spare", tier=1))) as gateway:
            assert (await said(gateway, stream=stream)).status == 200
    assert main.player.count == 0


async def test_the_next_clean_request_is_served_by_the_first_channel_again() -> None:
    async with demos(2) as (main, spare):
        flaky, healthy = main.channel("main", "cut20, first1"), spare.channel("spare", tier=1)
        async with running(world(flaky, healthy)) as gateway:
            await said(gateway, stream=True)
            got = await said(gateway, stream=False)
            assert got.headers["x-fastanchor-channel"] == "main"
            assert (await outcomes(gateway)) == ["won"]
