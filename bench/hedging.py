"""What hedging does to a slow tail, and what it costs: `python -m bench.hedging`.

One provider behind two channels, of whose answers a share is late by seconds. Requests come at fixed times (an open
loop), with and without a hedge in turns; time to first token is from the intended send to the first content. Extra
requests are those that the provider has seen beyond those that were sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import click
import orjson
import trio

from bench.instance import answering, instance, provider
from fastanchor.providers import demo
from fastanchor.runtime.demo import play
from fastanchor.wire.dial import Origin
from fastanchor.wire.message import Reply, Request
from fastanchor.wire.pool import Pool

TAIL = 0.05
USUAL = 0.3
"""Seconds: the median of a first token that is not late."""
SPREAD = 0.25
LATE = (3.0, 6.0)
CHANNEL = """
[[channels]]
name = "{model}-{tier}"
provider = "openai"
base_url = "http://127.0.0.1:{port}/v1"
keys = ["k"]
models = ["{model}"]
tier = {tier}
"""
ROUTE = """
[[routes]]
model = "{model}"
hedge = {hedge}
"""
HEDGES = {"alone": '"off"', "hedged": '{ after = "p95", max_share = 0.06 }'}


def channels(port: int) -> str:
    """Two channels to the provider for each side: what one measures is no concern of the other's."""
    there = "".join(CHANNEL.format(model=model, tier=tier, port=port) for model in HEDGES for tier in (0, 1))
    return there + "".join(ROUTE.format(model=model, hedge=hedge) for model, hedge in HEDGES.items())


@dataclass
class Tail:
    """A provider with a slow tail; counts what it is asked, by model."""

    random: Random
    seen: dict[str, int] = field(default_factory=dict)

    async def __call__(self, request: Request, reply: Reply) -> None:
        body = await request.body()
        model = orjson.loads(body)["model"]
        self.seen[model] = self.seen.get(model, 0) + 1
        late = self.random.random() < TAIL
        seconds = self.random.uniform(*LATE) if late else USUAL * math.exp(self.random.gauss(0.0, SPREAD))
        headers = [(b"x-demo-pace", b"n2, p0, ttft%d" % (seconds * 1000))]
        await play(demo.answer(request.method, request.target, headers, body, number=1), reply)


@dataclass
class Side:
    """One of the two that are compared. Times in seconds."""

    name: str
    sent: int = 0
    times: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        ranked = sorted(self.times)
        return ranked[min(len(ranked) - 1, math.ceil(share * len(ranked)) - 1)]


async def ask(pool: Pool, origin: Origin, side: Side) -> None:
    began = trio.current_time()
    document = {"model": side.name, "stream": True, "messages": [{"role": "user", "content": f"Question {side.sent}"}]}
    side.sent += 1
    response = await pool.request(
        origin, b"POST", b"/v1/chat/completions", [(b"content-type", b"application/json")], orjson.dumps(document),
        connect_timeout=30.0, first_byte_timeout=60.0,
    )  # fmt: skip
    with response:
        if response.status != 200:
            raise RuntimeError(f"status {response.status}")
        response.idle_timeout = 60.0
        await response.read()
        side.times.append(trio.current_time() - began)
        while await response.read():
            pass


async def measure(seconds: float, rate: float, tell: Callable[[str], None]) -> None:
    tail = Tail(Random(5))
    sides = Side("alone"), Side("hedged")
    async with provider(tail) as upstream:
        with instance(channels(upstream)) as port, Pool() as pool:
            await answering(port)
            origin = Origin("http", "127.0.0.1", port)
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                for turn in range(int(seconds * rate)):
                    await trio.sleep_until(began + turn / rate)
                    for side in sides:
                        nursery.start_soon(ask, pool, origin, side)
    for side in sides:
        extra = tail.seen[side.name] / side.sent - 1.0
        tell(
            f"{side.name:<7} {side.sent} requests, first token p50 {side.percentile(0.5):.2f} s, "
            f"p95 {side.percentile(0.95):.2f} s, p99 {side.percentile(0.99):.2f} s, extra requests {extra:.1%}"
        )


@click.command()
@click.option("--seconds", default=90.0, show_default=True)
@click.option("--rate", default=15.0, show_default=True, help="Requests per second, of each of the two.")
def main(seconds: float, rate: float) -> None:
    """Time to first token with and without a hedge, for a provider of which 5 % of the answers are late."""
    trio.run(measure, seconds, rate, click.echo)


if __name__ == "__main__":
    main()
