"""Bytes out: a won answer to its client, until it is whole or broken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.relay import Relay
from fastanchor.engine.upstreams import Response
from fastanchor.wire import errors as wire

DRAIN_SECONDS = 0.25
"""How long a finished stream waits for its upstream's last chunk, so that the connection can be used again."""
FINISH_SECONDS = 2.0
"""How long a stream that has told its finish reason may take to say the rest: usage and the terminal marker."""

Out = Callable[[bytes], Awaitable[None]]
Alive = Callable[[], Awaitable[None]]


async def relay(
    response: Response, carrier: Relay, out: Out, alive: Alive, deadline: float, *, one_choice: bool
) -> Fault | None:
    """Carry a stream's bytes to `out` until the answer is whole (None) or broken (the fault to tell).

    `alive` is called whenever the response's patience is over. With `one_choice` the answer's finish is its end.

    Raises:
        wire.ClientGone: from `out` or `alive`, when the client left.
    """
    idle = response.idle_timeout or 0.0
    near = deadline - idle
    while not carrier.complete and carrier.fault is None:
        broken: Fault | None = None
        try:
            data = await response.read()
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
        now = trio.current_time()
        if now >= near:
            if now >= deadline and not carrier.complete:  # what became whole by now is whole
                return carrier.fault or Fault(Kind.DEADLINE)
            response.idle_timeout = deadline - now
        elif one_choice and carrier.stop is not None:
            response.idle_timeout = min(idle, FINISH_SECONDS)
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
