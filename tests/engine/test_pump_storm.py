"""Many streams through the pump at once, with slow readers, clients that leave and upstreams that break off: what a
client gets is always the beginning of its own stream, and nothing stays behind.

A second or two in every run; with --slow ten million events.
"""

from __future__ import annotations

import gc
import re
import socket
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import orjson
import pytest
import trio

from fastanchor._speedups.pump import Flow
from fastanchor.core.channel import Timeouts
from fastanchor.core.route import Route
from fastanchor.wire.dial import Origin
from fastanchor.wire.message import Reply
from tests.kit.gateway import Running, channel, running, world
from tests.kit.upstream import SSE, Seen, Upstream, upstream

pytestmark = pytest.mark.skipif(Flow is None, reason="the pump is not built, or not wanted")

MARK = re.compile(rb"<(\d+):(\d+)>")
PADDING = "x" * 2000
MOST_UNSENT = 8192  # bytes that a slow reader's kernel takes


@dataclass
class Storm:
    """How many streams there are, how many events each has, and what became of them."""

    events: int
    at_once: int
    outcomes: Counter[str] = field(default_factory=Counter)
    carried: int = 0

    async def answer(self, seen: Seen, reply: Reply) -> None:
        """Events with the number of their stream and their own, in writes of several; some break off."""
        number = int(orjson.loads(seen.body)["messages"][0]["content"])
        random = Random(number)
        padding = PADDING if number % 4 == 0 else ""
        last = random.randrange(self.events) if number % 5 == 0 else self.events
        await reply.start(200, [SSE])
        at = 0
        while at < last:
            more = min(last - at, random.choice((1, 1, 1, 2, 30)))
            await reply.send(b"".join(event(f"<{number}:{i}>{padding}") for i in range(at, at + more)))
            at += more
            if random.random() < 0.3:
                await trio.sleep(random.choice((0.0, 0.0, 0.001)))
        if last < self.events:
            reply.abort()
            return
        await reply.send(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        await reply.finish()

    async def client(self, port: int, number: int) -> None:
        """Reads fast or slowly, to the end or until it has had enough."""
        random = Random(-number)
        slow, patience = number % 3 == 0, random.randrange(1, 10_000) if number % 7 == 0 else 1 << 62
        got = bytearray()
        sock = trio.socket.socket()
        if slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MOST_UNSENT)
        with sock:
            await sock.connect(("127.0.0.1", port))
            await sock.send(ask(number))
            try:
                while len(got) < patience and (data := await sock.recv(random.choice((500, 4000)) if slow else 65536)):
                    got += data
                    if slow and random.random() < 0.05:
                        await trio.sleep(0.002)
            except ConnectionResetError:
                got += b""
        self.judge(number, bytes(got), left=len(got) >= patience)

    def judge(self, number: int, got: bytes, *, left: bool) -> None:
        if got and not left and not got.startswith(b"HTTP/1.1 200 "):  # so many streams broke that nobody is asked
            self.outcomes["refused"] += 1
            return
        seen = [(int(a), int(b)) for a, b in MARK.findall(got)]
        assert seen == [(number, i) for i in range(len(seen))]
        self.carried += len(seen)
        if left:
            self.outcomes["left"] += 1
        elif number % 5 == 0 and number % 7:
            assert b"[DONE]" not in got
            assert not got.endswith(b"0\r\n\r\n")
            self.outcomes["cut"] += 1
        elif got.endswith(b"0\r\n\r\n"):
            assert len(seen) == self.events
            self.outcomes["whole"] += 1
        else:
            self.outcomes["cut"] += 1
            assert number % 5 == 0


def event(content: str) -> bytes:
    return b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": {"content": content}}]}) + b"\n\n"


def ask(number: int) -> bytes:
    body = orjson.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": str(number)}]})
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


async def nothing_left(gate: Running, up: Upstream) -> None:
    with trio.fail_after(10):
        while gate.gateway.in_flight or gate.pool.counts(Origin("http", "127.0.0.1", up.port))[0]:  # noqa: ASYNC110
            await trio.sleep(0.01)
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Flow]


async def rage(storm: Storm, streams: int) -> None:
    places = trio.Semaphore(storm.at_once)

    async def one(port: int, number: int) -> None:
        async with places:
            await storm.client(port, number)

    patient = Timeouts(connect=20.0, first_token=30.0, idle=30.0, total=600.0)
    async with upstream(storm.answer) as up:
        main = channel(up.url, timeouts=patient, max_concurrency=10_000)
        async with running(world(main, routes=(Route(attempts=1),))) as gate:
            async with trio.open_nursery() as nursery:
                for number in range(1, streams + 1):
                    nursery.start_soon(one, gate.port, number)
            await nothing_left(gate, up)


async def test_a_storm_leaves_every_stream_its_own() -> None:
    storm = Storm(events=100, at_once=100)
    await rage(storm, 120)
    assert storm.outcomes["whole"] > 40
    assert storm.outcomes["left"] > 10
    assert storm.outcomes["cut"] > 5


@pytest.mark.slow
async def test_a_long_storm() -> None:
    storm = Storm(events=5000, at_once=300)
    while storm.carried < 10_000_000:
        await rage(storm, 1000)
