"""Every bound of HTTP/1.1 is counted under its own name when somebody runs into it, and nothing else is."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import MockClock

from fastanchor._speedups.http1 import HeadLimits
from fastanchor.wire import ClientGone, Reply, Request, ServerLimits, bind, serve
from fastanchor.wire.front import serve_socket
from fastanchor.wire.hits import limit_hits
from tests.kit.wires import RawClient, Recorder, served

LIMITS = ServerLimits(
    head=HeadLimits(line=100, field=200, head=400, fields=5),
    head_deadline=10, body=1000, body_stall=30, body_rate=100, body_grace=10, idle=75, requests=2, write_stall=60,
)  # fmt: skip
GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = POST + b"Content-Length: 999\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "limit", "statuses"),
    [
        (b"", "head_deadline", ()),
        (GET[:20], "head_deadline", (408,)),
        (b"GET /" + b"x" * 100, "request_line", (414,)),
        (GET + b"a: " + b"x" * 250, "field", (431,)),
        (GET + b"a: 1\r\n" * 5 + b"\r\n", "fields", (431,)),
        (GET + (b"a: " + b"x" * 180 + b"\r\n") * 3, "head", (431,)),
        (GET + b"a\r\n\r\n", "bad_request", (400,)),
        (POST + b"Content-Length: 1001\r\n\r\n", "body", (413,)),
        (CHUNKED + b"3e9\r\n", "body", (413,)),
        (CHUNKED + b"x\r\n", "bad_request", (400,)),
        (CHUNKED + b"0\r\n" + b"a: 1\r\n" * 9, "trailers", (431,)),
        (SIZED, "body_rate", (408,)),
        (SIZED + b"x" * 998, "body_rate", (408,)),
        (GET + b"\r\n", "idle", (200,)),
        ((GET + b"\r\n") * 2, "requests", (200, 200)),
    ],
)  # fmt: skip
async def test_a_limit_is_counted_once(
    sent: bytes, limit: str, statuses: tuple[int, ...], autojump_clock: MockClock
) -> None:
    async with served(Recorder(), LIMITS) as client:
        await client.write(sent)
        await client.read_to_end()
        assert client.statuses() == statuses
        assert limit_hits() == {limit: 1}


async def test_a_stalled_body(autojump_clock: MockClock) -> None:
    limits = ServerLimits(body_stall=5, body_grace=10)
    async with served(Recorder(), limits) as client:
        await client.write(SIZED + b"x")
        await client.read_to_end()
        assert limit_hits() == {"body_stall": 1}


async def flood(reply: Reply) -> None:
    await reply.start(200, [])
    while True:
        await reply.send(bytes(65536))


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_does_not_read(streamed: bool, autojump_clock: MockClock) -> None:
    gone = trio.Event()

    async def handler(request: Request, reply: Reply) -> None:
        try:
            await (flood(reply) if streamed else reply.respond(200, [], bytes(32 << 20)))
        except ClientGone:
            gone.set()

    async with served(handler, LIMITS) as client:
        await client.write(GET + b"\r\n")
        await gone.wait()
        assert limit_hits() == {"write_stall": 1}


async def test_a_newcomer_that_says_nothing(autojump_clock: MockClock) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        await serve_socket(theirs, Recorder(), LIMITS)
        assert RawClient(ours).read() == b""
    assert limit_hits() == {"head_deadline": 1}


async def test_a_listener_without_room() -> None:
    with bind("127.0.0.1:0") as listener, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(listener, Recorder(), limits=ServerLimits(connections=1)))
            with socket.create_connection(listener.getsockname()):
                while not limit_hits():  # noqa: ASYNC110 - until the server has seen it
                    await trio.sleep(0.001)
                assert limit_hits() == {"connections": 1}
            nursery.cancel_scope.cancel()


async def test_an_ordinary_exchange_hits_nothing() -> None:
    async with served(Recorder(), LIMITS) as client:
        await client.write(POST + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello")
        await client.read_to_end()
        assert client.statuses() == (200,)
        assert not limit_hits()
