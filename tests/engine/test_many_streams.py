"""A thousand streams at once through one gateway: none lost, none mixed up."""

from __future__ import annotations

import re

import orjson
import trio

from fastanchor.wire.message import Reply
from tests.kit.gateway import channel, running, world
from tests.kit.upstream import SSE, Seen, upstream

STREAMS = 1000
EVENTS = 5


async def counting(seen: Seen, reply: Reply) -> None:
    """Streams its own number: `N:0`, `N:1` …"""
    asked = orjson.loads(seen.body)
    number = asked["messages"][0]["content"]
    await reply.start(200, [SSE])
    for i in range(EVENTS):
        delta = {"choices": [{"index": 0, "delta": {"content": f"<{number}:{i}>"}}]}
        await reply.send(b"data: " + orjson.dumps(delta) + b"\n\n")
        await trio.sleep(0.02)
    await reply.send(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
    await reply.finish()


async def ask(port: int, number: int, results: dict[int, bytes]) -> None:
    body = orjson.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": str(number)}]})
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        await stream.send_all(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        got = bytearray()
        async for data in stream:
            got += data
    results[number] = bytes(got)


async def test_thousand_streams_stay_apart() -> None:
    results: dict[int, bytes] = {}
    async with upstream(counting) as stub, running(world(channel(stub.url))) as gateway:  # over the pool's cap too
        async with trio.open_nursery() as nursery:
            for number in range(STREAMS):
                nursery.start_soon(ask, gateway.port, number, results)
    assert len(results) == STREAMS
    for number, answer in results.items():
        assert b" 200 " in answer[:20], answer
        assert re.findall(rb"<(\d+:\d+)>", answer) == [b"%d:%d" % (number, i) for i in range(EVENTS)]
        assert answer.endswith(b"0\r\n\r\n")
