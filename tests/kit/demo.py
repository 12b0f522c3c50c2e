"""Demo providers on loopback, in the test's own process: real sockets, with the faults of their grammar."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random

import trio

from fastanchor.core.channel import Channel, Timeouts
from fastanchor.runtime.demo import Player
from fastanchor.wire.listen import bind, serve
from fastanchor.wire.message import Reply, Request
from fastanchor.wire.tls_server import ServerTLS
from tests.kit.gateway import channel

SHORT = Timeouts(connect=1.0, first_token=0.8, idle=0.5, total=30.0)


@dataclass
class Demo:
    """One provider. `player.count` is the number of requests that it has seen."""

    player: Player
    port: int
    secure: bool = False

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self.secure else f"http://127.0.0.1:{self.port}"

    def channel(self, name: str, words: str = "", tier: int = 0, **changes: object) -> Channel:
        """A channel to this provider that behaves as `words` say."""
        headers = {"x-demo-pace": "p1, ttft5", **({"x-demo-fault": words} if words else {})}
        options: dict[str, object] = {"timeouts": SHORT, "headers": headers, "tier": tier, **changes}
        return channel(self.url, name=name, **options)


class Moody(Player):
    """A provider that has a fault of its own on each request, chosen by chance: (words, weight) of each."""

    def __init__(self, random: Random, moods: Sequence[tuple[str, float]]) -> None:
        super().__init__()
        self.random = random
        self.words = [words for words, _ in moods]
        self.weights = [weight for _, weight in moods]

    async def __call__(self, request: Request, reply: Reply) -> None:
        (words,) = self.random.choices(self.words, self.weights)
        if words:
            request.headers.append((b"x-demo-fault", words.encode("ascii")))
        await super().__call__(request, reply)


@asynccontextmanager
async def demos(
    count: int, make: Callable[[], Player] = Player, tls: ServerTLS | None = None
) -> AsyncIterator[list[Demo]]:
    """So many providers on free ports."""
    listeners = [bind("127.0.0.1:0") for _ in range(count)]
    try:
        async with trio.open_nursery() as nursery:
            found = []
            for listener in listeners:
                player = make()
                await nursery.start(partial(serve, tls=tls), listener, player)
                found.append(Demo(player, listener.getsockname()[1], tls is not None))
            yield found
            nursery.cancel_scope.cancel()
    finally:
        for listener in listeners:
            listener.close()
