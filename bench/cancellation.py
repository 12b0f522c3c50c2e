"""How long after its client has left an upstream sees the gateway leave: `python -m bench.cancellation`.

From the moment in which the client closes (HTTP/1.1) or resets its stream (HTTP/2) to the one in which the provider's
side has seen its connection closed or its stream reset, while other streams keep the gateway busy. Client and provider
are in this process, the gateway is a real instance, and both sides speak the same version of HTTP. What is measured
holds two detections of a hang-up (the gateway's and this provider's) and this process's own turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import click
import orjson
import trio

from bench.instance import answering, instance, provider
from fastanchor.wire.dial import Origin
from fastanchor.wire.message import Reply, Request
from fastanchor.wire.pool import Pool

CHANNELS = """
[[channels]]
name = "one"
provider = "openai"
base_url = "http://127.0.0.1:{port}/v1"
keys = ["k"]
models = ["off"]
http2 = "off"
max_concurrency = 10000

[[channels]]
name = "two"
provider = "openai"
base_url = "http://127.0.0.1:{port}/v1"
keys = ["k"]
models = ["on"]
http2 = "on"
max_concurrency = 10000
"""
SSE = (b"content-type", b"text/event-stream")
PIECE = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"tick"}}]}\n\n'
ROLE = b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
MESSAGE = {"role": "user", "content": "Hello"}
SETTLED = 0.02
"""Seconds for the gateway to pass on what there is."""
LIMIT = 30.0
PLACES = (
    # where a request is when its client leaves, and whether it is a stream
    ("head", True), ("first token", True), ("mid-stream", True), ("head", False),
)  # fmt: skip


@dataclass
class Watcher:
    """A provider that answers up to the place that a request names, and notes when it is left there."""

    arrived: dict[str, trio.Event] = field(default_factory=dict)
    left: dict[str, trio.Event] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)

    def expect(self, name: str) -> None:
        self.arrived[name], self.left[name] = trio.Event(), trio.Event()

    async def __call__(self, request: Request, reply: Reply) -> None:
        place, _, name = orjson.loads(await request.body())["user"].partition("/")
        try:
            await self._until(place, reply, self.arrived.get(name))
        except BaseException:
            if name in self.left:
                self.times[name] = trio.current_time()
                self.left[name].set()
            raise

    async def _until(self, place: str, reply: Reply, arrived: trio.Event | None) -> None:
        if place != "head":
            await reply.start(200, [SSE], ROLE)
        if arrived is not None:
            arrived.set()
        if place in ("mid-stream", "load"):
            while True:
                await reply.send(PIECE)
                await trio.sleep(0.02)
        await trio.sleep_forever()


async def ask(pool: Pool, origin: Origin, place: str, stream: bool, name: str = "") -> None:
    """A request whose answer is read until this is cancelled."""
    document = {"model": origin.http2, "stream": stream, "user": f"{place}/{name}", "messages": [MESSAGE]}
    response = await pool.request(
        origin, b"POST", b"/v1/chat/completions", [(b"content-type", b"application/json")], orjson.dumps(document),
        connect_timeout=30.0, first_byte_timeout=None,
    )  # fmt: skip
    with response:
        while await response.read():
            pass


async def leave(pool: Pool, origin: Origin, place: str, stream: bool, name: str, watcher: Watcher) -> float:
    """One request that is left there; seconds until its provider knows."""
    watcher.expect(name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, pool, origin, place, stream, name)
        with trio.fail_after(LIMIT):
            await watcher.arrived[name].wait()
        await trio.sleep(SETTLED)
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    with trio.fail_after(LIMIT):
        await watcher.left[name].wait()
    return watcher.times[name] - began


def told(seconds: list[float]) -> str:
    ranked = sorted(seconds)
    p99 = ranked[math.ceil(0.99 * len(ranked)) - 1]
    return f"p50 {ranked[len(ranked) // 2] * 1e3:6.1f} ms, p99 {p99 * 1e3:6.1f} ms, most {ranked[-1] * 1e3:6.1f} ms"


async def measure(times: int, streams: int, tell: Callable[[str], None]) -> None:
    watcher = Watcher()
    async with provider(watcher) as upstream:
        with instance(CHANNELS.format(port=upstream)) as port, Pool() as pool:
            await answering(port)
            async with trio.open_nursery() as nursery:
                await nursery.start(pool.run)
                for _ in range(streams):
                    nursery.start_soon(ask, pool, Origin("http", "127.0.0.1", port, "off"), "load", True)
                await trio.sleep(2.0)
                for http2 in ("off", "on"):
                    origin = Origin("http", "127.0.0.1", port, http2)
                    for place, stream in PLACES:
                        names = [f"{http2}-{place}-{stream}-{i}" for i in range(times)]
                        seconds = [await leave(pool, origin, place, stream, name, watcher) for name in names]
                        version, kind = "HTTP/2" if http2 == "on" else "HTTP/1.1", "stream" if stream else "plain"
                        tell(f"{version:<9} {kind:<7} waiting for {place:<12} {told(seconds)}")
                nursery.cancel_scope.cancel()


@click.command()
@click.option("--times", default=200, show_default=True, help="Requests that are left, in each place.")
@click.option("--streams", default=50, show_default=True, help="Others that run meanwhile, an event per 20 ms each.")
def main(times: int, streams: int) -> None:
    """The time from a client's leaving to its upstream's end."""
    trio.run(measure, times, streams, click.echo)


if __name__ == "__main__":
    main()
