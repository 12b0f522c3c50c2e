"""The fault matrix over real sockets: each fault × {stream, plain} × {with, without another channel} × {HTTP/1.1 in
clear, HTTP/1.1 over TLS, HTTP/2 over TLS}, the same on both sides of the gateway.

Times are those of short limits; the same cells with the default ones are in tests/lab, under a virtual clock. Over TLS
only streams with another channel are in every run; the rest, and HTTP/2, with --slow.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import cache
from typing import Literal

import orjson
import pytest
import trio

from fastanchor.core.channel import Channel
from fastanchor.core.route import Hedge, Route
from fastanchor.lab.judge import text_of
from fastanchor.providers import demo
from tests.kit.demo import SHORT, demos
from tests.kit.gateway import Running, channel, running, world
from tests.kit.http import Got, post, post_h2
from tests.kit.secure import Secure, secure

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
@dataclass(frozen=True)
class Wire:
    """What is spoken on both sides of the gateway."""

    name: str
    http2: Literal["auto", "on", "off"] = "auto"
    protocol: str = ""

    @property
    def tls(self) -> Secure | None:
        return secure(self.protocol) if self.protocol else None


CLEAR, TLS, H2 = Wire("clear"), Wire("tls", "off", "http/1.1"), Wire("h2", "on", "h2")


def wires(*quick: Wire) -> pytest.MarkDecorator:
    """All of them; only these in every run."""
    there = [pytest.param(wire, marks=() if wire in quick else pytest.mark.slow) for wire in (CLEAR, TLS, H2)]
    return pytest.mark.parametrize("wire", there, ids=["clear", "tls", "h2"])


CELLS = pytest.mark.parametrize(
    ("stream", "wire"),
    [
        pytest.param(stream, wire, marks=() if wire is CLEAR or (stream and wire is TLS) else pytest.mark.slow,
                     id=f"{'stream' if stream else 'plain'}-{wire.name}")
        for wire in (CLEAR, TLS, H2) for stream in (True, False)
    ],
)  # fmt: skip
STREAMS = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


@dataclass
class Cell:
    """What a client got, and the requests that each provider has seen."""

    got: Got
    text: str
    asked: list[int]


async def said(gateway: Running, *, stream: bool, wire: Wire = CLEAR) -> Got:
    tls = wire.tls
    with trio.fail_after(ENOUGH):
        if tls is not None and wire is H2:
            return await post_h2(gateway.port, PATH, chat(stream=stream), tls.client)
        return await post(gateway.port, PATH, chat(stream=stream), tls=tls and tls.client)


async def outcomes(gateway: Running) -> list[str]:
    """How each attempt of the last request ended."""
    return [attempt.outcome for attempt in (await gateway.settled())[-1].attempts]


def text(got: Got, *, stream: bool) -> str:
    return text_of(got.body, stream=stream) if got.status == 200 and got.whole else ""


async def cell(
    words: str, *, stream: bool, fallback: bool, route: Route = ROUTE, wire: Wire = CLEAR
) -> Cell:
    async with demos(2, tls=wire.tls and wire.tls.server) as (main, spare):
        channels = [main.channel("main", words, http2=wire.http2)]
        if fallback:
            channels.append(spare.channel("spare", tier=1, http2=wire.http2))
        async with running(world(*channels, routes=(route,)), tls=wire.tls) as gateway:
            got = await said(gateway, stream=stream, wire=wire)
            await nothing_left(gateway, channels)
            return Cell(got, text(got, stream=stream), [main.player.count, spare.player.count])


async def nothing_left(gateway: Running, channels: list[Channel]) -> None:
    """No request, place or connection stays in use."""
    await gateway.settled()
    health = gateway.gateway.traffic.health
    assert gateway.gateway.in_flight == 0
    assert all(health.of(c).concurrency.in_flight == 0 for c in channels)


@cache
def good() -> str:
    """What every provider says."""
    body = orjson.dumps(chat(stream=False))
    script = demo.answer(b"POST", PATH.encode(), [], body, number=1)
    (text,) = (step.data for step in script.steps if isinstance(step, demo.Send))
    return text_of(text, stream=False)


@CELLS
@pytest.mark.parametrize("words", BEFORE)
async def test_before_content_another_channel_hides_it(words: str, stream: bool, wire: Wire) -> None:
    found = await cell(words, stream=stream, fallback=True, wire=wire)
    assert (found.got.status, found.got.whole) == (200, True)
    assert found.text == good()
    assert found.asked == [1, 1]


@wires(CLEAR)
@STREAMS
@pytest.mark.parametrize("words", BEFORE)
async def test_before_content_alone_it_is_told(words: str, stream: bool, wire: Wire) -> None:
    found = await cell(words, stream=stream, fallback=False, wire=wire)
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


@wires(CLEAR, TLS)
@pytest.mark.parametrize("words", MIDST)
async def test_in_the_midst_another_channel_goes_on(words: str, wire: Wire) -> None:
    found = await cell(words, stream=True, fallback=True, wire=wire)
    assert found.got.whole
    assert found.text == good()
    assert len(found.text.split()) == 60
    assert found.asked == [1, 1]
    assert found.got.body.endswith(b"data: [DONE]\n\n")


@wires(CLEAR)
@pytest.mark.parametrize("words", MIDST)
@pytest.mark.parametrize("rescue", ["off", "splice"])
async def test_in_the_midst_alone_it_is_told_and_never_looks_whole(words: str, rescue: str, wire: Wire) -> None:
    route = Route(rescue=rescue)  # type: ignore[arg-type]
    found = await cell(words, stream=True, fallback=False, route=route, wire=wire)
    assert found.got.status == 200
    assert not found.got.whole
    assert b"[DONE]" not in found.got.body
    assert orjson.loads(found.got.body.rstrip().rpartition(b"data: ")[2])["error"]["code"]


@wires(CLEAR)
@pytest.mark.parametrize("words", MIDST)
async def test_plain_answers_that_break_are_hidden(words: str, wire: Wire) -> None:
    found = await cell(words, stream=False, fallback=True, wire=wire)
    assert found.text == good()


@wires(CLEAR)
@STREAMS
@pytest.mark.parametrize("words", HARMLESS)
async def test_what_does_not_matter_costs_one_attempt(words: str, stream: bool, wire: Wire) -> None:
    found = await cell(words, stream=stream, fallback=True, wire=wire)
    assert found.text == good()
    assert found.asked == [1, 0]


async def test_after_a_bad_event_in_the_midst_another_channel_goes_on() -> None:
    found = await cell("malformed15", stream=True, fallback=True)
    assert found.text == good()
    assert found.asked == [1, 1]


@wires(CLEAR)
@STREAMS
@pytest.mark.parametrize("words", REFUSED)
async def test_the_clients_own_mistake_is_told_once(words: str, stream: bool, wire: Wire) -> None:
    found = await cell(words, stream=stream, fallback=True, wire=wire)
    assert found.got.status == int(words[4:7])
    assert found.asked == [1, 0]


@pytest.mark.parametrize("k", [0, 1, 2, 7, 13, 29, 30, 31, 58, 59])
async def test_cut_after_any_token_the_answer_comes_once(k: int) -> None:
    found = await cell(f"cut{k}", stream=True, fallback=True)
    assert found.text == good()


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
