"""What the policies of a route cost a request that needs none of them: `python -m bench.policies`.

The whole engine, with a request and an upstream in memory, under two configurations in turns: one channel with nothing
to decide (no hedge, no rescue, no affinity, one attempt), and the defaults of a route with a second channel. The
difference is CPU time of this process, per pair of windows; the same configuration against itself shows the noise.
"""

from __future__ import annotations

import gc
import statistics
import time
from random import Random

import click
import trio

from fastanchor.core.channel import Channel, Secret
from fastanchor.core.route import Hedge, Route
from fastanchor.core.snapshot import Snapshot
from fastanchor.engine.gateway import Gateway
from fastanchor.lab.client import MemoryReply, MemoryRequest
from fastanchor.wire.dial import Origin
from fastanchor.wire.message import Headers

HELLO = b'{"model":"m","stream":%b,"messages":[{"role":"user","content":"What is an anchor? %b"}]}'
TEXT = b"Tell me. " * 100
PIECE = b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"tick "}}]}\n\n'
END = b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
WHOLE = (
    b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"tick"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":1,"total_tokens":201}}'
)
PIECES = 50


class Answer:
    """An upstream's response that is all there."""

    status = 200
    idle_timeout: float | None = None
    patience: float | None = None

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.complete = False
        self.headers: list[tuple[bytes, bytes]] = []

    def get(self, name: bytes) -> bytes | None:
        return None

    async def read(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.pieces:
            return self.pieces.pop()
        self.complete = True
        return b""

    async def read_all(self, limit: int) -> bytes:
        await trio.lowlevel.checkpoint()
        self.complete = True
        return self.pieces.pop()

    def close(self) -> None:
        pass


class Ready:
    """Upstreams that answer at once."""

    async def request(
        self, origin: Origin, method: bytes, target: bytes, headers: Headers, body: bytes = b"", *,
        connect_timeout: float, first_byte_timeout: float | None,
    ) -> Answer:
        await trio.lowlevel.checkpoint()
        return Answer([END, *[PIECE] * PIECES] if b'"stream":true' in body else [WHOLE])


def gateway(*, policies: bool) -> Gateway:
    channels = [
        Channel(name, "openai", f"https://{name}.test/v1", (Secret("k"),), any_model=True, tier=tier)
        for tier, name in enumerate(("main", "spare")[: 2 if policies else 1])
    ]
    plain = Route(attempts=1, hedge=Hedge(after=None), rescue="off", affinity=False)
    world = Snapshot(channels=tuple(channels), routes=() if policies else (plain,), auth=False)
    return Gateway(world, Ready(), b"", random=Random(1))


async def window(one: Gateway, count: int, *, stream: bool) -> float:
    """Microseconds of CPU per request."""
    body = HELLO % (b"true" if stream else b"false", TEXT)
    fields = [(b"content-type", b"application/json")]
    began = time.process_time()
    for _ in range(count):
        await one(MemoryRequest(b"POST", b"/v1/chat/completions", fields, body), MemoryReply())
    return (time.process_time() - began) / count * 1e6


async def compare(rounds: int, count: int) -> None:
    for stream in (False, True):
        sides = [gateway(policies=False), gateway(policies=True), gateway(policies=False)]
        found: list[list[float]] = [[], [], []]
        for turn in range(rounds + 2):
            for i in Random(turn).sample(range(3), 3):
                spent = await window(sides[i], count, stream=stream)
                if turn > 1:
                    found[i].append(spent)
        off, on = map(statistics.median, found[:2])
        added = statistics.median(b - a for a, b in zip(found[0], found[1], strict=True))
        noise = statistics.median(b - a for a, b in zip(found[0], found[2], strict=True))
        kind = f"stream of {PIECES} events" if stream else "plain request"
        click.echo(
            f"{kind:<20} without {off:6.1f} us, with {on:6.1f} us per request in the engine: {added:+.1f} us "
            f"(the same twice: {noise:+.1f} us)"
        )


@click.command()
@click.option("--rounds", default=40, show_default=True)
@click.option("--count", default=300, show_default=True, help="Requests of a window.")
def main(rounds: int, count: int) -> None:
    """CPU of the engine with and without policies, in one run."""
    gc.disable()
    trio.run(compare, rounds, count)


if __name__ == "__main__":
    main()
