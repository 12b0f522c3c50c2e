"""A request through the engine with HTTP/2 on both sides: streams, cancellation, and many on few connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import orjson
import pytest
import trio

from fastanchor.wire import Origin, Pool
from fastanchor.wire.response_h2 import H2Response
from tests.kit.gateway import Running, channel, channels, running, world
from tests.kit.upstream import Upstream, in_turn, silent, stream, upstream, whole

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
PIECE = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"tick"}}]}\n\n'
END = b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
ANSWER = b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'


@asynccontextmanager
async def client() -> AsyncIterator[Pool]:
    """A client that speaks HTTP/2."""
    with Pool() as pool:
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            yield pool
            nursery.cancel_scope.cancel()


async def ask(pool: Pool, gateway: Running, **changes: object) -> H2Response:
    origin = Origin("http", "127.0.0.1", gateway.port, "on")
    body = orjson.dumps({**CHAT, **changes})
    response = await pool.request(
        origin, b"POST", b"/v1/chat/completions", [(b"content-type", b"application/json")], body,
        connect_timeout=60, first_byte_timeout=60,
    )  # fmt: skip
    assert isinstance(response, H2Response)
    response.idle_timeout = 10
    return response


def versions(stub: Upstream) -> set[bytes | None]:
    """Which fields of HTTP/1.1 the upstream saw: none over HTTP/2."""
    return {seen.get(b"connection") for seen in stub.seen}


async def test_a_stream_from_end_to_end() -> None:
    async with upstream(stream([PIECE] * 20 + [END], pause=0.001)) as stub, client() as pool:
        async with running(world(channel(stub.url, http2="on"))) as gateway:
            with await ask(pool, gateway, stream=True) as response:
                body = await response.read_all(1 << 20)
            assert (response.status, response.complete) == (200, True)
            assert b"event-stream" in (response.get(b"content-type") or b"")
            assert body.count(b"tick") == 20
            assert body.endswith(b"data: [DONE]\n\n")
            [receipt] = await gateway.settled()
            assert gateway.pool._multiplexer is not None
            assert gateway.pool._multiplexer.counts(Origin("http", "127.0.0.1", stub.port, "on")) == (1, 0)
    assert receipt.status == 200
    assert versions(stub) == {None}


async def test_a_plain_answer() -> None:
    async with upstream(whole(ANSWER)) as stub, client() as pool:
        async with running(world(channel(stub.url, http2="on"))) as gateway:
            with await ask(pool, gateway) as response:
                assert await response.read_all(1 << 20) == ANSWER


@pytest.mark.parametrize("how", ["reset", "connection"])
async def test_a_client_that_leaves_ends_its_upstream_stream_only(how: str) -> None:
    answers = in_turn(stream([PIECE] * 10_000, pause=0.01), whole(ANSWER))
    async with upstream(answers) as stub, client() as other:
        async with running(world(channel(stub.url, http2="on"))) as gateway:
            async with client() as pool:
                response = await ask(pool, gateway, stream=True)
                await response.read()
                if how == "reset":
                    response.close()
                    with trio.fail_after(60):
                        while not stub.left:  # noqa: ASYNC110 - the stub counts in a plain number
                            await trio.sleep(0.001)
            with trio.fail_after(60):
                while not stub.left:  # noqa: ASYNC110 - the stub counts in a plain number
                    await trio.sleep(0.001)
            with await ask(other, gateway) as second:
                assert await second.read_all(1 << 20) == ANSWER
            assert gateway.pool._multiplexer is not None
            assert gateway.pool._multiplexer.counts(Origin("http", "127.0.0.1", stub.port, "on")) == (1, 0)
            receipts = await gateway.settled(2)
    assert receipts[0].ending == "client_gone"


async def test_a_client_that_leaves_before_the_first_token() -> None:
    async with upstream(silent()) as stub, running(world(channel(stub.url, http2="on"))) as gateway:
        async with client() as pool, trio.open_nursery() as nursery:
            nursery.start_soon(partial(ask, pool, gateway, stream=True))
            with trio.fail_after(60):
                while not stub.seen:  # noqa: ASYNC110 - the stub counts in a plain list
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        async with client():
            with trio.fail_after(60):
                while not stub.left:  # noqa: ASYNC110 - the stub counts in a plain number
                    await trio.sleep(0.001)
        assert (await gateway.settled())[0].ending == "client_gone"


async def test_a_stream_that_breaks_before_its_first_token_goes_to_the_next_channel() -> None:
    async with upstream(stream([], cut=True)) as broken, upstream(stream([PIECE, END])) as good, client() as pool:
        async with running(world(*channels([broken.url, good.url], http2="on"))) as gateway:
            with await ask(pool, gateway, stream=True) as response:
                assert b"tick" in await response.read_all(1 << 20)


async def test_a_hundred_streams_share_two_connections() -> None:
    async with upstream(stream([PIECE] * 10 + [END], pause=0.02)) as stub, client() as pool:
        async with running(world(channel(stub.url, http2="on"))) as gateway:
            whole_ones: list[int] = []

            async def one() -> None:
                with await ask(pool, gateway, stream=True) as response:
                    whole_ones.append((await response.read_all(1 << 20)).count(b"tick"))

            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    for _ in range(100):
                        nursery.start_soon(one)
            assert gateway.pool._multiplexer is not None
            origin = Origin("http", "127.0.0.1", stub.port, "on")
            assert gateway.pool._multiplexer.counts(origin)[0] <= 2
    assert whole_ones == [10] * 100
