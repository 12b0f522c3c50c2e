"""Many streams on three channels that fail at random: nothing is lost, cut as if whole, or doubled, and nothing leaks.

A few seconds in every run; with --slow for ten minutes, with two hundred streams at once and flat memory. Either at a
pace that leaves the one process of clients, gateway and providers time to spare.
"""

from __future__ import annotations

import gc
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import orjson
import pytest
import trio

from fastanchor.core.channel import Timeouts
from fastanchor.core.route import Hedge, Route
from fastanchor.lab.judge import text_of
from fastanchor.providers import demo
from fastanchor.wire.dial import Origin
from tests.kit.demo import Demo, Moody, demos
from tests.kit.gateway import Running, running, world
from tests.kit.http import Got, post

PATH = "/v1/chat/completions"
DEADLINE = 60.0
PATIENCE = DEADLINE + 10.0
"""Seconds after which a client that stays says that there was no answer at all."""
MOODS = [
    ("", 70.0), ("cut0", 2.0), ("cut1", 2.0), ("cut20", 3.0), ("cut59", 2.0), ("end30", 2.0), ("stall20", 1.0),
    ("reset", 2.0), ("fail500", 3.0), ("fail503", 1.0), ("fail429", 1.0), ("empty", 1.0), ("errorinband0", 2.0),
    ("errorinband10", 2.0), ("malformed15", 2.0), ("nodone", 2.0), ("slowhead400", 1.0), ("ttft400", 1.0),
]  # fmt: skip
LEAVERS = 0.1
"""The share of clients that walk away."""
MOST_ERRORS = 0.05
"""The share of requests that may end in an error, told as such, though three channels failed at random."""


@dataclass(frozen=True)
class Soak:
    """How long, how many clients, and how fast the providers are. Times in seconds."""

    seconds: float
    clients: int
    pace: str
    timeouts: Timeouts
    late: float  # a first token that starts another channel
    leaves_within: float


SOAK = Soak(6.0, 12, "p4, ttft5", Timeouts(connect=5.0, first_token=3.0, idle=1.5, total=30.0), 0.3, 0.2)
LONG_SOAK = Soak(600.0, 200, "p100, ttft50", Timeouts(connect=2.0, first_token=5.0, idle=3.0, total=60.0), 0.3, 8.0)


@dataclass
class Tally:
    """What became of the requests. `wrong` must stay empty."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def judge(self, got: Got, prompt: str, *, stream: bool) -> None:
        if got.status != 200:
            self.outcomes["error"] += 1
            if "error" not in got.json or not got.whole:
                self.wrong.append(f"{prompt}: status {got.status} without a word")
        elif got.whole:
            self.outcomes["whole"] += 1
            if text_of(got.body, stream=stream) != expected(prompt):
                self.wrong.append(f"{prompt}: whole, and another text")
        else:
            self.outcomes["broken off"] += 1
            if b'"error"' not in got.body.rpartition(b"data: ")[2] or b"[DONE]" in got.body:
                self.wrong.append(f"{prompt}: cut, and not told: {got.body[-400:]!r}")


def chat(prompt: str, *, stream: bool) -> dict[str, object]:
    return {"model": "m", "stream": stream, "messages": [{"role": "user", "content": prompt}]}


def expected(prompt: str) -> str:
    """What every provider says to it."""
    body = orjson.dumps(chat(prompt, stream=False))
    script = demo.answer(b"POST", b"/v1/chat/completions", [], body, number=1)
    (text,) = (step.data for step in script.steps if isinstance(step, demo.Send))
    return text_of(text, stream=False)


async def client(port: int, number: int, until: float, how: Soak, tally: Tally) -> None:
    """One after the other, until the time is over."""
    random = Random(number)
    for turn in range(1_000_000):
        if trio.current_time() >= until:
            return
        prompt, stream = f"question {turn} of client {number}", random.random() < 0.8
        patience = random.random() * how.leaves_within if random.random() < LEAVERS else PATIENCE
        with trio.move_on_after(patience) as scope:
            tally.judge(await post(port, PATH, chat(prompt, stream=stream)), prompt, stream=stream)
        if scope.cancelled_caught:
            tally.outcomes["left"] += 1
            if patience == PATIENCE:
                tally.wrong.append(f"{prompt}: no answer at all")


async def soak(gateway: Running, how: Soak, tally: Tally) -> None:
    """Half of it."""
    until = trio.current_time() + how.seconds / 2
    async with trio.open_nursery() as nursery:
        for number in range(how.clients):
            nursery.start_soon(client, gateway.port, number, until, how, tally)
    gc.collect()


async def at_rest(gateway: Running, providers: list[Demo]) -> None:
    """No request, place, promise, waiter or connection in use any more."""
    traffic = gateway.gateway.traffic
    origins = [Origin("http", "127.0.0.1", one.port) for one in providers]
    with trio.fail_after(60):
        while gateway.gateway.in_flight or any(gateway.pool.counts(origin)[0] for origin in origins):  # noqa: ASYNC110
            await trio.sleep(0.01)
    places = [state.concurrency for state in traffic.health.channels.values()]
    assert [(p.in_flight, p.promised) for p in places] == [(0, 0)] * 3
    assert not traffic.room
    assert all(gateway.pool.counts(origin)[2] == 0 for origin in origins)


def sockets() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    """Bytes of memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


async def run(how: Soak) -> tuple[Tally, int]:
    """A soak; the tally and the growth of memory in its second half."""
    tasks, before = trio.lowlevel.current_statistics().tasks_living, sockets()
    random = Random(11)
    async with demos(3, lambda: Moody(random, MOODS)) as providers:
        channels = [
            one.channel(name, tier=i // 2, timeouts=how.timeouts, headers={"x-demo-pace": how.pace})
            for i, (one, name) in enumerate(zip(providers, "abc", strict=True))
        ]
        route = Route(attempts=5, hedge=Hedge(after=how.late, max_share=0.1), deadline=DEADLINE)
        async with running(world(*channels, routes=(route,))) as gateway:
            tally = Tally()
            await soak(gateway, how, tally)
            gateway.receipts.clear()
            middle = resident()
            await soak(gateway, how, tally)
            grown = resident() - middle
            await at_rest(gateway, providers)
            assert all(receipt.ending for receipt in gateway.receipts)
    with trio.fail_after(60):
        while trio.lowlevel.current_statistics().tasks_living > tasks + 3:  # noqa: ASYNC110 - watchers of the wire stay
            await trio.sleep(0.01)
    assert sockets() <= before + 3
    print(f"{dict(tally.outcomes)}, wrong {tally.wrong}, memory {grown / 2**20:+.1f} MB in the second half")
    return tally, grown


def check(tally: Tally) -> None:
    assert not tally.wrong
    asked = tally.outcomes.total() - tally.outcomes["left"]
    assert tally.outcomes["whole"] > 0.9 * asked
    assert tally.outcomes["error"] + tally.outcomes["broken off"] <= MOST_ERRORS * asked


async def test_a_short_soak() -> None:
    tally, _ = await run(SOAK)
    check(tally)
    assert tally.outcomes.total() > 50


@pytest.mark.slow
async def test_a_long_soak() -> None:
    tally, grown = await run(LONG_SOAK)
    check(tally)
    assert grown < 32 * 1024 * 1024
