"""Faults that other gateways shipped and that only show while many streams run."""

from __future__ import annotations

from pathlib import Path
from random import Random

import trio

from tests.kit.gateway import channel, running, world
from tests.kit.http import Got, post
from tests.kit.upstream import stream, upstream

STREAMS = 24


async def test_bug_44_no_bytes_of_a_cancelled_stream_show_in_another(recordings: Path) -> None:
    """Streams share connections, scanners and memory that is used again: some clients leave at random moments, and
    those who stay get their own bytes, all of them."""
    random = Random(44)
    data = (recordings / "openai-chat" / "parallel-tool-calls.sse").read_bytes()
    pieces = [data[at : at + 61] for at in range(0, len(data), 61)]
    asked = {"model": "m", "messages": [{"role": "user", "content": "a"}], "stream": True}
    asked["stream_options"] = {"include_usage": True}
    got: dict[int, Got] = {}

    async def stay(port: int, number: int) -> None:
        got[number] = await post(port, "/v1/chat/completions", asked)

    async def leave(port: int, after: float) -> None:
        with trio.move_on_after(after):
            await post(port, "/v1/chat/completions", asked)

    async with upstream(stream(pieces, pause=0.001)) as stub, running(world(channel(stub.url))) as gateway:
        async with trio.open_nursery() as nursery:
            for number in range(STREAMS):
                nursery.start_soon(stay, gateway.port, number)
                nursery.start_soon(leave, gateway.port, random.uniform(0.0, 0.1))
    assert len(got) == STREAMS
    assert {(one.whole, one.body) for one in got.values()} == {(True, data)}
