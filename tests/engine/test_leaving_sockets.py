"""A client that leaves, or whose request the operator ends, over real sockets: in every place where a request can wait,
streamed or not, over HTTP/1.1 and HTTP/2 on both sides, its upstream is let go and nothing stays in use."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import orjson
import pytest
import trio

from fastanchor.wire.dial import Origin
from fastanchor.wire.errors import WireError
from fastanchor.wire.message import Reply
from fastanchor.wire.pool import Pool
from tests.kit.gateway import Running, channel, running, world
from tests.kit.upstream import SSE, Seen, Upstream, upstream

ROLE = b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
PIECE = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"tick"}}]}\n\n'
PATIENCE = 60.0
"""Seconds for what ought to take a moment, on a very busy machine."""

Http2 = Literal["off", "on"]
VERSIONS = pytest.mark.parametrize("http2", ["off", "on"], ids=["h1", "h2"])
STREAMS = pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])


@dataclass
class Stops:
    """An upstream that says so much of an answer, and then no more; tells when a request has come that far."""

    said: list[bytes] = field(default_factory=list)
    there: trio.Event = field(default_factory=trio.Event)

    async def __call__(self, seen: Seen, reply: Reply) -> None:
        if self.said:
            await reply.start(200, [SSE], b"".join(self.said))
        self.there.set()
        await trio.sleep_forever()


@asynccontextmanager
async def client(gateway: Running, http2: Http2, *, stream: bool, first: trio.Event) -> AsyncIterator[None]:
    """A request that is on its way inside the block, and left behind it. `first`: the first bytes have come."""
    body = orjson.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "Hello"}]})

    async def ask() -> None:
        response = await pool.request(
            Origin("http", "127.0.0.1", gateway.port, http2), b"POST", b"/v1/chat/completions",
            [(b"content-type", b"application/json")], body, connect_timeout=PATIENCE, first_byte_timeout=None,
        )  # fmt: skip
        with response:
            while await response.read():
                first.set()

    with Pool() as pool:
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            async with trio.open_nursery() as asking:
                asking.start_soon(ask)
                with trio.fail_after(PATIENCE):
                    yield
                asking.cancel_scope.cancel()
            nursery.cancel_scope.cancel()


async def until_idle(gateway: Running, *stubs: Upstream) -> None:
    """The upstreams have been left, and no request, place or connection is in use."""
    traffic = gateway.gateway.traffic
    with trio.fail_after(PATIENCE):
        while not all(stub.left for stub in stubs) or gateway.gateway.in_flight:  # noqa: ASYNC110 - plain counters
            await trio.sleep(0.001)
    assert all(state.concurrency.in_flight == 0 for state in traffic.health.channels.values())
    assert not traffic.room
    assert all(gateway.pool.counts(Origin("http", "127.0.0.1", stub.port, "off"))[0] == 0 for stub in stubs)
    multiplexer = gateway.pool._multiplexer
    for stub in stubs if multiplexer is not None else ():
        assert multiplexer is not None
        assert multiplexer.counts(Origin("http", "127.0.0.1", stub.port, "on"))[1] == 0


@VERSIONS
@STREAMS
async def test_waiting_for_a_head(stream: bool, http2: Http2) -> None:
    stops = Stops()
    async with upstream(stops) as stub, running(world(channel(stub.url, http2=http2))) as gateway:
        async with client(gateway, http2, stream=stream, first=trio.Event()):
            await stops.there.wait()
        await until_idle(gateway, stub)
    assert [receipt.ending for receipt in gateway.receipts] == ["client_gone"]


@VERSIONS
@pytest.mark.parametrize(
    ("stream", "said"), [(True, ROLE), (False, b'{"choices":[')], ids=["first token", "half of a plain answer"]
)
async def test_waiting_behind_the_head(stream: bool, said: bytes, http2: Http2) -> None:
    stops = Stops([said])
    async with upstream(stops) as stub, running(world(channel(stub.url, http2=http2))) as gateway:
        async with client(gateway, http2, stream=stream, first=trio.Event()):
            await stops.there.wait()
        await until_idle(gateway, stub)


@VERSIONS
async def test_in_the_midst_of_a_stream(http2: Http2) -> None:
    first = trio.Event()
    async with upstream(Stops([ROLE, PIECE])) as stub, running(world(channel(stub.url, http2=http2))) as gateway:
        async with client(gateway, http2, stream=True, first=first):
            await first.wait()
        await until_idle(gateway, stub)


@VERSIONS
@STREAMS
async def test_waiting_for_a_slot(stream: bool, http2: Http2) -> None:
    stops = Stops()
    async with upstream(stops) as stub, running(world(channel(stub.url, http2=http2, max_concurrency=1))) as gateway:
        async with client(gateway, http2, stream=stream, first=trio.Event()):
            await stops.there.wait()
            async with client(gateway, http2, stream=stream, first=trio.Event()):
                while not gateway.gateway.traffic.room:  # noqa: ASYNC110 - a plain queue
                    await trio.sleep(0.001)
            with trio.fail_after(PATIENCE):
                while gateway.gateway.traffic.room:  # noqa: ASYNC110
                    await trio.sleep(0.001)
        await until_idle(gateway, stub)
        assert len(stub.seen) == 1


@contextmanager
def unanswered() -> Iterator[int]:
    """A port where connections are neither taken nor refused: its queue is full."""
    with socket.socket() as hole, contextlib.ExitStack() as queue:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):
            one = queue.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(hole.getsockname())
        yield hole.getsockname()[1]


@VERSIONS
@STREAMS
async def test_waiting_for_a_connection(stream: bool, http2: Http2) -> None:
    with unanswered() as port:
        origin = Origin("http", "127.0.0.1", port, http2)
        async with running(world(channel(f"http://127.0.0.1:{port}", http2=http2))) as gateway:
            async with client(gateway, http2, stream=stream, first=trio.Event()):
                while not gateway.gateway.traffic.health.channels:  # noqa: ASYNC110 - a plain table
                    await trio.sleep(0.001)
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
                assert gateway.gateway.in_flight == 1
            await until_idle(gateway)
            assert gateway.pool.counts(origin) == (0, 0, 0)
    assert [receipt.attempts[0].outcome for receipt in gateway.receipts] == ["cancelled"]


@VERSIONS
@pytest.mark.parametrize("said", [[], [ROLE, PIECE]], ids=["head", "mid-stream"])
async def test_the_operators_end_is_the_same_as_leaving(said: list[bytes], http2: Http2) -> None:
    stops, first = Stops(said), trio.Event()
    async with upstream(stops) as stub, running(world(channel(stub.url, http2=http2))) as gateway:
        with pytest.RaisesGroup(WireError, flatten_subgroups=True):
            async with client(gateway, http2, stream=True, first=first):
                await (first if said else stops.there).wait()
                (id,) = gateway.gateway.running
                assert gateway.gateway.kill(id)
                await trio.sleep_forever()
        await until_idle(gateway, stub)
        assert not gateway.gateway.kill(id)
    assert [(receipt.ending, receipt.status) for receipt in gateway.receipts] == [("killed", 200 if said else 499)]
