"""A gateway on loopback, in the test's own process: real sockets, no supervisor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random

import trio

from fastanchor.core.channel import Channel, Secret, Timeouts
from fastanchor.core.receipt import Receipt
from fastanchor.core.snapshot import Snapshot
from fastanchor.engine.conversations import Conversations
from fastanchor.engine.gateway import Gateway
from fastanchor.settings.secrets import key_digest
from fastanchor.wire.listen import bind, serve
from fastanchor.wire.pool import Pool
from fastanchor.wire.server_h1 import Drain
from tests.kit.secure import Secure
from tests.kit.upstream import PATIENT

PEPPER = b"pepper for tests"


@dataclass
class Running:
    """A gateway that serves on `port`; `receipts` are those of the requests that have ended."""

    gateway: Gateway
    port: int
    pool: Pool
    drain: Drain
    receipts: list[Receipt] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def settled(self, count: int = 1) -> list[Receipt]:
        """The receipts, once there are `count` of them."""
        with trio.fail_after(60):
            while len(self.receipts) < count:  # noqa: ASYNC110 - receipts fall into a plain list
                await trio.sleep(0.001)
        return self.receipts


@asynccontextmanager
async def running(
    world: Snapshot, conversations: Conversations | None = None, tls: Secure | None = None
) -> AsyncIterator[Running]:
    """Run a gateway with this configuration on a free port. `tls` is for its clients, and for its upstreams."""
    receipts: list[Receipt] = []
    listener = bind("127.0.0.1:0")
    try:
        with Pool(ssl_context=tls and tls.client) as pool:
            gateway = Gateway(
                world, pool, PEPPER, sinks=(receipts.append,), random=Random(7), conversations=conversations
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(pool.run)
                drain = Drain()
                server = partial(serve, listener, gateway, limits=PATIENT, drain=drain, tls=tls and tls.server)
                await nursery.start(server)
                yield Running(gateway, listener.getsockname()[1], pool, drain, receipts)
                nursery.cancel_scope.cancel()
    finally:
        listener.close()


def channel(url: str, **changes: object) -> Channel:
    """An `openai` channel that serves every model at `url`."""
    options: dict[str, object] = {
        "name": "main",
        "provider": "openai",
        "base_url": url + "/v1",
        "keys": (Secret("upstream-secret"),),
        "any_model": True,
        "timeouts": Timeouts(connect=30.0, first_token=30.0, idle=30.0, total=60.0),
    }
    options.update(changes)
    return Channel(**options)  # type: ignore[arg-type]


def world(*channels: Channel, **changes: object) -> Snapshot:
    """An open configuration with these channels."""
    options: dict[str, object] = {"channels": channels, "auth": False}
    options.update(changes)
    return Snapshot(**options)  # type: ignore[arg-type]


def digests(keys: dict[str, object]) -> dict[bytes, object]:
    """Principals by the digest of their key."""
    return {key_digest(key, PEPPER): principal for key, principal in keys.items()}


def channels(urls: Sequence[str], **changes: object) -> list[Channel]:
    """One channel per URL, in tiers of their own: `main`, `spare1`, `spare2`…"""
    return [
        channel(url, name="main" if i == 0 else f"spare{i}", tier=i, **changes) for i, url in enumerate(urls)
    ]
