"""A stream that breaks after content goes on from another channel: the client gets the whole answer, once."""

from __future__ import annotations

import re

import pytest

from fastanchor.core.channel import Timeouts
from fastanchor.core.route import Route
from tests.kit.gateway import channels, running, world
from tests.kit.http import Got, post
from tests.kit.upstream import Answer, in_turn, stream, upstream

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
WORDS = [f"w{i} " for i in range(60)]


def piece(word: str, id: str = "a") -> bytes:
    return b'data: {"id":"%b","model":"m","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (
        id.encode(), word.encode(),
    )  # fmt: skip


def said(words: list[str], id: str = "a") -> list[bytes]:
    return [piece(word, id) for word in words]


LAST = [b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"]
FULL = stream(said(WORDS, "b") + LAST)


def text(got: Got) -> list[str]:
    return [word.decode() for word in re.findall(rb'"content":"(w\d+ )', got.body)]


async def ask(first: Answer, second: Answer, route: Route | None = None) -> Got:
    patience = Timeouts(connect=1.0, first_token=2.0, idle=0.3, total=20.0)
    async with upstream(first) as a, upstream(second) as b:
        routes = () if route is None else (route,)
        async with running(world(*channels([a.url, b.url], timeouts=patience), routes=routes)) as gateway:
            return await post(gateway.port, "/v1/chat/completions", CHAT)


def stalled(count: int) -> Answer:
    return stream([b"".join(said(WORDS[:count])), b""], pause=60.0)


@pytest.mark.parametrize("count", [1, 20, 40, 59, 60])
async def test_cut_stream_goes_on_from_the_next_channel(count: int) -> None:
    got = await ask(stream(said(WORDS[:count]), cut=True, pause=0.001), FULL)
    assert got.whole
    assert text(got) == WORDS
    assert got.body.endswith(b"data: [DONE]\n\n")


async def test_stalled_stream_goes_on_from_the_next_channel() -> None:
    got = await ask(stalled(20), FULL)
    assert got.whole
    assert text(got) == WORDS


async def test_in_band_error_after_content_goes_on_from_the_next_channel() -> None:
    error = b'data: {"error":{"message":"overloaded"}}\n\n'
    got = await ask(stream([*said(WORDS[:20]), error], pause=0.005), FULL)
    assert text(got) == WORDS


async def test_the_answer_keeps_its_id() -> None:
    got = await ask(stream(said(WORDS[:20]), cut=True, pause=0.001), FULL)
    assert set(re.findall(rb'"id":"([^"]+)"', got.body)) == {b"a"}


async def test_other_words_are_not_spliced() -> None:
    other = stream(said(["other ", *WORDS[1:]]) + LAST)
    got = await ask(stream(said(WORDS[:20]), cut=True, pause=0.001), other)
    assert not got.whole
    assert text(got) == WORDS[:20]
    assert b'data: {"error":{' in got.body


async def test_a_tool_call_half_sent_is_not_continued() -> None:
    call = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":'
    call += b'{"name":"f","arguments":"{\\"a"}}]}}]}\n\n'
    got = await ask(stream([call], cut=True), FULL)
    assert not got.whole
    assert not text(got)


async def test_the_same_channel_may_go_on_when_there_is_no_other() -> None:
    flaky = in_turn(stream(said(WORDS[:20]), cut=True, pause=0.001), FULL)
    async with upstream(flaky) as only:
        async with running(world(*channels([only.url]))) as gateway:
            got = await post(gateway.port, "/v1/chat/completions", CHAT)
    assert text(got) == WORDS


async def test_without_rescue_the_cut_is_told() -> None:
    got = await ask(stream(said(WORDS[:20]), cut=True, pause=0.001), FULL, Route("*", rescue="off"))
    assert not got.whole
    assert b'data: {"error":{' in got.body


async def test_restart_sends_only_the_answer_that_is_whole() -> None:
    other = stream(said(["quite ", "different "]) + LAST)
    got = await ask(stream(said(WORDS[:20]), cut=True, pause=0.001), other, Route("*", rescue="restart"))
    assert got.whole
    assert not text(got)
    assert b"quite" in got.body
