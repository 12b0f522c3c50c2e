"""A client that leaves cancels its upstream at once, wherever the request is; nothing is left behind."""

from __future__ import annotations

import orjson
import trio

from fastanchor.wire.dial import Origin
from tests.kit.gateway import channel, channels, running, world
from tests.kit.http import post
from tests.kit.upstream import Upstream, silent, stream, upstream, whole

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
PIECE = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"tick"}}]}\n\n'


async def leave(port: int, document: object, *, after: bytes = b"", asked: Upstream | None = None) -> None:
    """Ask, read until `after` has come and the upstream was asked, and close."""
    body = orjson.dumps(document)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        got = b""
        while after not in got:
            got += await stream.receive_some()
        while asked is not None and not asked.seen:  # noqa: ASYNC110 - the stub counts in a plain list
            await trio.sleep(0.001)


async def left(stub: Upstream) -> None:
    """Wait until the upstream has seen its peer leave."""
    with trio.fail_after(60):
        while not stub.left:  # noqa: ASYNC110 - the stub counts in a plain number
            await trio.sleep(0.001)


async def test_leaving_in_mid_stream_closes_the_upstream() -> None:
    async with upstream(stream([PIECE] * 10_000, pause=0.01)) as stub, running(world(channel(stub.url))) as gateway:
        await leave(gateway.port, {**CHAT, "stream": True}, after=PIECE)
        await left(stub)
        receipt = (await gateway.settled())[0]
    assert (receipt.ending, receipt.status) == ("client_gone", 200)
    assert receipt.usage.estimated
    assert receipt.usage.output


async def test_leaving_before_the_first_token_closes_the_upstream() -> None:
    async with upstream(silent()) as stub, running(world(channel(stub.url))) as gateway:
        await leave(gateway.port, {**CHAT, "stream": True}, asked=stub)
        await left(stub)
        receipt = (await gateway.settled())[0]
    assert (receipt.ending, receipt.status) == ("client_gone", 499)


async def test_leaving_while_a_plain_answer_is_awaited_closes_the_upstream() -> None:
    async with upstream(silent()) as stub, running(world(channel(stub.url))) as gateway:
        await leave(gateway.port, CHAT, asked=stub)
        await left(stub)


async def test_leaving_does_not_start_the_next_channel() -> None:
    good = whole(b'{"choices":[{}]}')
    async with upstream(silent()) as first, upstream(good) as second:
        async with running(world(*channels([first.url, second.url]))) as gateway:
            await leave(gateway.port, CHAT, asked=first)
            await left(first)
    assert not second.seen


async def test_a_left_stream_does_not_disturb_its_neighbours() -> None:
    pieces = [PIECE] * 40 + [FINISH, b"data: [DONE]\n\n"]
    async with upstream(stream(pieces, pause=0.005)) as stub, running(world(channel(stub.url))) as gateway:
        whole_ones = []

        async def stay() -> None:
            whole_ones.append(await post(gateway.port, "/v1/chat/completions", {**CHAT, "stream": True}))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(stay)
                nursery.start_soon(lambda: leave(gateway.port, {**CHAT, "stream": True}, after=PIECE))
    assert [got.body for got in whole_ones] == [b"".join(pieces)] * 10


async def test_no_connection_stays_in_use() -> None:
    async with upstream(stream([PIECE] * 10_000, pause=0.01)) as stub, running(world(channel(stub.url))) as gateway:
        for _ in range(5):
            await leave(gateway.port, {**CHAT, "stream": True}, after=PIECE)
        await gateway.settled(5)
        assert gateway.pool.counts(Origin("http", "127.0.0.1", stub.port)) == (0, 0, 0)
