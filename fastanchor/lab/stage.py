"""A stage: the real engine between a client in memory and upstreams that are played."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

import orjson
import trio
import trio.testing
from trio._core import _run  # the switch that trio has for tests: tasks in an order that can be repeated

from fastanchor.core.receipt import Receipt
from fastanchor.core.snapshot import Snapshot
from fastanchor.engine.gateway import Gateway
from fastanchor.lab.client import MemoryReply, MemoryRequest
from fastanchor.lab.fault import GOOD, Fault
from fastanchor.lab.upstreams import MemoryUpstreams, Played, with_port

FIRST_PORT = 20_000
CHAT = b"/v1/chat/completions"

T = TypeVar("T")


@dataclass
class Outcome:
    """One request, ended: what the client got, when (seconds after it asked), and the gateway's record."""

    reply: MemoryReply
    seconds: float
    receipt: Receipt

    @property
    def attempts(self) -> list[str]:
        """`channel=outcome` of each attempt that was started."""
        return [f"{a.channel}={a.outcome}" for a in self.receipt.attempts if a.outcome != "skipped"]


class Stage:
    """One gateway, fresh. Must be made and used inside `play`.

    Args:
        world: the configuration; keys are not asked for, and each channel gets a port of its own.
        faults: by channel name; the others are well.
    """

    def __init__(self, world: Snapshot, faults: dict[str, Fault] | None = None, seed: int = 0) -> None:
        faults = faults or {}
        ports = {c.name: FIRST_PORT + i for i, c in enumerate(world.channels)}
        self.upstreams = {c.name: Played(c.name, c.prefix, faults.get(c.name, GOOD)) for c in world.channels}
        channels = tuple(replace(c, base_url=with_port(c.base_url, ports[c.name])) for c in world.channels)
        self.world = replace(world, channels=channels, auth=False, _serving={})
        self.receipts: list[Receipt] = []
        played = {ports[name]: one for name, one in self.upstreams.items()}
        self.gateway = Gateway(
            self.world, MemoryUpstreams(played), b"", sinks=(self.receipts.append,), random=Random(seed)  # noqa: S311
        )

    async def ask(self, document: object, path: bytes = CHAT, **headers: str) -> Outcome:
        """One request, to its end."""
        reply = MemoryReply()
        return await self.ask_into(reply, document, path, **headers)

    async def ask_into(self, reply: MemoryReply, document: object, path: bytes = CHAT, **headers: str) -> Outcome:
        """One request whose answer can be watched while it comes."""
        fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        request = MemoryRequest(b"POST", path, [(b"content-type", b"application/json"), *fields], _body(document))
        began, before = trio.current_time(), len(self.receipts)
        await self.gateway(request, reply)
        return Outcome(reply, trio.current_time() - began, self.receipts[before])

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight anywhere: no request, no response, no place taken or promised."""
        places = self.gateway.traffic.health.channels.values()
        return (
            self.gateway.in_flight == 0
            and not self.gateway.traffic.room
            and all(one.open == 0 for one in self.upstreams.values())
            and all(p.concurrency.in_flight == p.concurrency.promised == 0 for p in places)
        )


def _body(document: object) -> bytes:
    return document if isinstance(document, bytes) else orjson.dumps(document)


def play(story: Callable[[], Awaitable[T]], seed: int = 0) -> T:
    """Run a story under a clock that jumps over every wait, its tasks in an order that the seed decides."""

    async def run() -> T:
        return await story()

    before = _run._ALLOW_DETERMINISTIC_SCHEDULING
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    _run._r.seed(seed)
    try:
        return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
