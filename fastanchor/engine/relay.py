"""Bytes out: a won answer to its client, until it is whole or broken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import trio

from fastanchor._speedups.pump import Middle, Odd
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.contract import Plain
from fastanchor.dialects.relay import Relay
from fastanchor.engine.upstreams import Response
from fastanchor.wire import errors as wire
from fastanchor.wire.pump import Pump

DRAIN_SECONDS = 0.25
"""How long a finished stream waits for its upstream's last chunk, so that the connection can be used again."""
FINISH_SECONDS = 2.0
"""How long a stream that has told its finish reason may take to say the rest: usage and the terminal marker."""

Out = Callable[[bytes], Awaitable[None]]
Alive = Callable[[], Awaitable[None]]


def look(carrier: Relay, *, one_choice: bool) -> Callable[[], Middle | None]:
    """What a pump asks for: how the bytes that follow go through `carrier`; None when the stream nears its end."""
    plain = cast(Plain, carrier) if hasattr(type(carrier), "middle") else None  # isinstance takes as long as a send
    whole = (_ask, lambda data, _: carrier.feed(data))

    def middle() -> Middle | None:
        if carrier.complete or carrier.fault is not None or (one_choice and carrier.stop is not None):
            return None
        return whole if plain is None else plain.middle

    return middle


def _ask(data: bytes, odd: Odd) -> bytes:
    """The way of a carrier that says nothing of its plain middle: everything is odd."""
    return odd(data, None)


async def relay(
    response: Response,
    carrier: Relay,
    out: Out,
    alive: Alive,
    deadline: float,
    *,
    one_choice: bool,
    pump: Pump | None = None,
) -> Fault | None:
    """Carry a stream's bytes to `out` until the answer is whole (None) or broken (the fault to tell).

    What `pump` carries goes past `out`. `alive` is called whenever the response's patience is over. With `one_choice`
    the answer's finish is its end.

    Raises:
        wire.ClientGone: from `out` or `alive`, when the client left.
    """
    idle = response.idle_timeout or 0.0
    near = deadline - idle
    while not carrier.complete and carrier.fault is None:
        now = trio.current_time()
        finished = one_choice and carrier.stop is not None
        if now >= deadline:
            return Fault(Kind.DEADLINE)
        if now >= near:
            response.idle_timeout = deadline - now
        elif finished:
            response.idle_timeout = min(idle, FINISH_SECONDS)
        broken: Fault | None = None
        try:
            if pump is not None and pump.dry and now < near and await pump.run(near):
                continue
            data = await response.read()
        except wire.ClientGone:
            raise
        except wire.NothingYet:
            await alive()
            continue
        except wire.ReadTimeout:
            data, broken = b"", Fault(Kind.DEADLINE if trio.current_time() >= deadline else Kind.STALLED)
        except wire.WireError:
            data, broken = b"", Fault(Kind.TRUNCATED)
        if broken is not None and not (one_choice and carrier.stop is not None):
            return broken
        ready = carrier.feed(data) if data else carrier.end()
        if ready:
            await out(ready)
        if not data:
            break
    return carrier.fault


async def drain(response: Response) -> None:
    """Read the upstream's end of body, which mostly came with its last event, so that the connection is reused.

    Many clients leave the moment they have their terminal marker: that is no reason to lose the connection, nor does
    it make the answer one that was given up.
    """
    if response.complete:
        return
    response.idle_timeout = DRAIN_SECONDS
    response.patience = None
    try:
        with trio.CancelScope(shield=True):
            await response.read()
    except wire.WireError:  # the answer is whole; only the connection is lost
        return
