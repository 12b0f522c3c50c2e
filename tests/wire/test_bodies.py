"""Bytes of request bodies are bounded over all connections: who does not fit is refused, and nothing stays counted."""

from __future__ import annotations

import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fastanchor.wire import NoRoomForBody, Reply, Request, ServerLimits, serve_connection
from fastanchor.wire.bodies import LARGE, LOOKED_AT, ONE_READ, Share, bodies
from fastanchor.wire.coding import DecodingLimits, decoded_body
from fastanchor.wire.hits import limit_hits
from tests.kit.h2_frames import END_HEADERS, END_STREAM, NO_ERROR, POST, RawH2, data, h2_served, headers, reset
from tests.kit.wires import RawClient, Recorder, served

SIZE = 100_000
ROOM = 250_000
SIZED = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n"
LIMITS = ServerLimits(linger=0)


class Keeping:
    """Reads bodies, and answers with their sizes when it is told to."""

    def __init__(self) -> None:
        self.go_on = trio.Event()

    async def __call__(self, request: Request, reply: Reply) -> None:
        body = await request.body()
        await self.go_on.wait()
        await reply.respond(200, [], b"%d" % len(body))


@asynccontextmanager
async def clients(handler: Keeping, count: int) -> AsyncIterator[list[RawClient]]:
    """So many connections to one server."""
    async with trio.open_nursery() as nursery:
        ends = [socket.socketpair() for _ in range(count)]
        for ours, theirs in ends:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * SIZE)
            nursery.start_soon(serve_connection, theirs, handler, LIMITS)
        yield [RawClient(ours) for ours, _ in ends]
        nursery.cancel_scope.cancel()
    for ours, _ in ends:
        ours.close()


async def test_what_does_not_fit_is_refused_until_there_is_room() -> None:
    bodies().most = ROOM
    handler = Keeping()
    async with clients(handler, 4) as (first, second, third, small):
        for client in (first, second):
            await client.write(SIZED % SIZE + bytes(SIZE))
        assert bodies().held == 2 * SIZE
        await third.write(SIZED % SIZE)  # the announcement is enough
        assert third.statuses() == (503,)
        await small.write(SIZED % 1000 + bytes(1000))
        handler.go_on.set()
        await wait_all_tasks_blocked()
        assert [client.statuses() for client in (first, second, small)] == [(200,)] * 3
        assert bodies().held == 0
        await first.write(SIZED % SIZE + bytes(SIZE))
        assert first.statuses() == (200, 200)
    assert limit_hits() == {"bodies": 1}


async def test_an_announcement_takes_nothing_away() -> None:
    bodies().most = ROOM
    handler = Keeping()
    handler.go_on.set()
    async with clients(handler, 6) as (*idle, good):
        for client in idle:
            await client.write(SIZED % ROOM)
        assert bodies().held == 0
        await good.write(SIZED % SIZE + bytes(SIZE))
        assert good.statuses() == (200,)


async def test_a_body_in_chunks_is_refused_where_it_stops_to_fit() -> None:
    bodies().most = ROOM
    recorder = Recorder()
    async with served(recorder, LIMITS) as client:
        await client.write(CHUNKED)
        for _ in range(4):
            await client.write(CHUNK % (ONE_READ, bytes(ONE_READ)))
        assert client.statuses() == (503,)
    assert recorder.requests == []
    assert bodies().held == 0


async def test_a_client_that_leaves_gives_back_what_it_held() -> None:
    async with served(Keeping(), LIMITS) as client:
        await client.write(SIZED % (2 * SIZE) + bytes(SIZE))
        assert bodies().held == SIZE
        client.sock.close()
        await wait_all_tasks_blocked()
        assert bodies().held == 0


async def test_what_is_passed_on_is_not_held() -> None:
    bodies().most = ROOM
    most = 0

    async def handler(request: Request, reply: Reply) -> None:
        nonlocal most
        while await request.read():
            most = max(most, bodies().held)
        await reply.respond(200, [], b"")

    async with served(handler, LIMITS) as client:
        await client.write(SIZED % (4 * SIZE))
        for _ in range(4):
            await client.write(bytes(SIZE))
        assert client.statuses() == (200,)
    assert most == 0


async def post(client: RawH2, stream: int, size: int, *, whole: bool = True) -> None:
    """A body of `size` bytes, in frames; without its end when it is not `whole`."""
    await client.write(headers(stream, POST, END_HEADERS))
    for at in range(0, size, 10_000):
        last = whole and at + 10_000 >= size
        await client.write(data(stream, bytes(10_000), END_STREAM if last else 0))


async def test_http2_counts_the_same() -> None:
    bodies().most = ROOM
    handler = Keeping()
    async with h2_served(handler) as client:
        await post(client, 1, SIZE)
        await post(client, 3, SIZE, whole=False)
        assert bodies().held == 2 * SIZE
        await client.write(headers(5, (*POST, (b"content-length", b"%d" % SIZE)), END_HEADERS))
        assert (client.answers()[5].status, client.answers()[5].code) == (503, NO_ERROR)
        await client.write(reset(3))
        assert bodies().held == SIZE
        handler.go_on.set()
        await wait_all_tasks_blocked()
        assert client.answers()[1].body == b"%d" % SIZE
        assert bodies().held == 0


async def test_what_a_coded_body_grows_to_counts() -> None:
    bodies().most = ROOM
    held = 0

    async def handler(request: Request, reply: Reply) -> None:
        nonlocal held
        try:
            await decoded_body(request, DecodingLimits(ratio=10**6))
        finally:
            held = bodies().held
        await reply.respond(200, [], b"")

    async with served(handler, LIMITS) as client:
        for size in (SIZE, 3 * SIZE):
            coded = gzip.compress(bytes(size))
            head = SIZED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
            await client.write(head % len(coded) + coded)
            assert held <= ROOM
        assert client.statuses() == (200, 503)
    assert bodies().held == 0


async def test_no_bound() -> None:
    bodies().most = 0
    share = Share()
    share.take(1 << 40)
    assert bodies().held == 1 << 40
    share.give_back()
    assert bodies().held == 0


async def test_what_was_refused_is_not_held() -> None:
    bodies().most = 10
    share = Share()
    share.take(10)
    with pytest.raises(NoRoomForBody):
        share.take(1)
    assert bodies().held == 10


async def test_large_bodies_are_looked_at_one_after_another_with_time_between(autojump_clock: MockClock) -> None:
    looked_at = []

    async def one(size: int) -> None:
        await bodies().turn(size)
        looked_at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(one, 10 * LARGE)
    between = 2 * 10 * LARGE / LOOKED_AT
    assert looked_at == pytest.approx([0, between, 2 * between])


async def test_a_body_that_is_not_large_has_no_turn_to_wait_for(autojump_clock: MockClock) -> None:
    await bodies().turn(100 * LARGE)
    await bodies().turn(LARGE - 1)
    assert trio.current_time() == 0
