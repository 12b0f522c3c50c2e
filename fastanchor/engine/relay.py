"""Bytes out: a won answer to its client, until it is whole or broken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.relay import Relay
from fastanchor.engine.attempt import Answer
from fastanchor.wire import errors as wire
from fastanchor.wire.client_h1 import Response

DRAIN_SECONDS = 0.25
"""How long a finished stream waits for its upstream's last chunk, so that the connection can be used again."""

Out = Callable[[bytes], Awaitable[None]]


async def relay(answer: Answer, carrier: Relay, out: Out, deadline: float) -> Fault | None:
    """Carry a stream's bytes to `out` until the answer is whole (None) or broken (the fault to tell).

    Raises:
        wire.ClientGone: from `out`, when the client left.
    """
    response = answer.response
    while not carrier.complete and carrier.fault is None:
        try:
            data = await response.read()
        except wire.ReadTimeout:
            return Fault(Kind.STALLED)
        except (wire.Truncated, wire.BadResponse):
            return Fault(Kind.TRUNCATED)
        ready = carrier.feed(data) if data else carrier.end()
        if ready:
            await out(ready)
        if not data:
            break
        if trio.current_time() > deadline:
            return Fault(Kind.DEADLINE)
    return carrier.fault


async def drain(response: Response) -> None:
    """Read the upstream's end of body, which mostly came with its last event, so that the connection is reused."""
    if response.complete:
        return
    response.idle_timeout = DRAIN_SECONDS
    try:
        await response.read()
    except wire.WireError:  # the answer is whole; only the connection is lost
        return
