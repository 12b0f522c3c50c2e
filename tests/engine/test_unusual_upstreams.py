"""Upstreams that speak HTTP/1.1 in its rarer forms: what the gateway's client is told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import trio

from tests.kit.gateway import channel, running, world
from tests.kit.http import Got, post
from tests.kit.raw_upstream import RawUpstream, Script, raw_upstream, says

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
BODY = (
    b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},'
    b'"finish_reason":"stop"}]}'
)
TYPE = b"Content-Type: application/json\r\n"
SIZED = TYPE + b"Content-Length: %d\r\n" % len(BODY)
OK = b"HTTP/1.1 200 OK\r\n" + SIZED + b"\r\n" + BODY
CHUNKS = b"1\r\n{\r\n%x;ext=1\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(BODY) - 1, BODY[1:])
PATH = "/v1/chat/completions"


async def asked(up: RawUpstream, times: int = 1, document: Mapping[str, object] | None = None) -> list[Got]:
    """The answers to so many requests, one behind the other."""
    async with running(world(channel(f"http://127.0.0.1:{up.origin.port}"))) as gateway:
        with trio.fail_after(15):
            return [await post(gateway.port, PATH, document or CHAT) for _ in range(times)]


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
        b"HTTP/1.0 200 OK\r\n" + SIZED + b"\r\n" + BODY,
        b"HTTP/1.0 200 OK\r\n" + TYPE + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\n" + TYPE + b"\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + TYPE + b"\r\n" + CHUNKS,
        b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * 15_000 + b"\r\n" + SIZED + b"\r\n" + BODY,
    ],
    ids=["100", "102-and-103", "1.0", "1.0-without-length", "without-length", "extensions-and-trailers", "huge-head"],
)
async def test_a_rare_form_is_read_as_it_is_meant(answer: bytes, step: int) -> None:
    async with raw_upstream(says(answer, step=step)) as up:
        (got,) = await asked(up)
    assert (got.status, got.body) == (200, BODY)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_an_error_and_never_followed(status: int) -> None:
    async with raw_upstream(says(OK)) as elsewhere:
        where = b"http://127.0.0.1:%d/canary-location" % elsewhere.origin.port
        length = b"" if status == 304 else b"Content-Length: 2\r\n"
        moved = b"HTTP/1.1 %d Moved\r\nLocation: %b\r\n%b\r\n%b" % (status, where, length, b"{}" if length else b"")
        async with raw_upstream(says(moved)) as up:
            (got,) = await asked(up)
    assert got.status >= 500
    assert b'"error"' in got.body
    assert elsewhere.connections == 0
    assert "location" not in got.headers
    assert "canary-location" not in f"{got.headers}{got.body!r}"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Length: %d\r\n\r\n" % (len(BODY) + 10) + BODY,
        b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Length: %d\r\n\r\n" % (len(BODY) - 10) + BODY,
        b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * 100_000 + b"\r\n" + SIZED + b"\r\n" + BODY,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + OK,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + OK,
    ],
    ids=["length-too-long", "length-too-short", "head-too-large", "interim-for-ever", "101"],
)
async def test_a_wrong_answer_is_an_error(answer: bytes) -> None:
    async with raw_upstream(says(answer)) as up:
        (got,) = await asked(up)
    assert got.status >= 500
    assert got.whole
    assert b'"error"' in got.body


def early(answer: bytes, *, reads_on: bool) -> Callable[[RawUpstream], Script]:
    """Answers behind the head of a request, whose body it reads or leaves."""

    def bound(up: RawUpstream) -> Script:
        async def script(stream: trio.SocketStream) -> None:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive_some(1000)
            await stream.send_all(answer)
            if reads_on:
                while await stream.receive_some():
                    pass
            else:
                with trio.move_on_after(1):
                    await trio.sleep_forever()

        return script

    return bound


@pytest.mark.parametrize("reads_on", [True, False])
async def test_an_answer_that_comes_before_the_body_was_sent(reads_on: bool) -> None:
    """The body is larger than what the kernel takes; the answer counts, and the connection is not used again."""
    said = b'{"error":{"message":"too long for us","type":"invalid_request_error"}}'
    answer = b"HTTP/1.1 413 Content Too Large\r\n" + TYPE
    answer += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(said) + said
    long = {**CHAT, "messages": [{"role": "user", "content": "x" * 20_000_000}]}
    async with raw_upstream(early(answer, reads_on=reads_on)) as up:
        (got,) = await asked(up, document=long)
    assert got.status in (400, 413)
    assert b"too long for us" in got.body


async def test_a_connection_closed_between_two_requests_costs_nothing() -> None:
    """The upstream hangs up behind each answer without having said so."""
    async with raw_upstream(says(OK)) as up:
        answers = await asked(up, times=5)
    assert [got.status for got in answers] == [200] * 5
    assert up.connections == 5
