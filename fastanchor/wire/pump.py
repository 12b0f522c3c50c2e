"""A response carried to a reply while nobody's task runs, where both are plain HTTP/1.1 and the reactor is compiled.

The plain loop (`read`, then `send`) is always right, and does the same. A pump only takes its waits: what arrives while
the task would sleep is carried on by the reactor (`_speedups.pump`), and the task wakes when there is something that
only it can do: the end, an error, a deadline, a client that does not read. What it then finds is what it would have
found had it carried the bytes itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fastanchor._speedups.pump import Flow, Middle

from .client_h1 import Response
from .exchange_h1 import H1Reply


class Tally(Protocol):
    """Who keeps count of what has gone to the client."""

    kept: list[bytes] | None
    """Where it is appended, if it is kept."""

    @property
    def room(self) -> int:
        """Bytes after which the pump stops, to be told anew."""

    def carried(self, size: int) -> None:
        """So many bytes have gone out, and into `kept`."""


class Pump:
    """One response and its reply."""

    __slots__ = ("_flow", "_look", "_reply", "_response", "_tally")

    def __init__(
        self, response: Response, reply: H1Reply, tally: Tally, look: Callable[[], Middle | None], flow: Flow
    ) -> None:
        self._response = response
        self._reply = reply
        self._tally = tally
        self._look = look
        self._flow = flow

    @property
    def dry(self) -> bool:
        """Whether a read would have to wait: only then there is something to pump."""
        return self._response.dry

    async def run(self, until: float) -> bool:
        """Carry on what comes until a task is needed, or (about) the time `until`; False when `look` has no middle.

        Raises as `Response.read` does, and ClientGone.
        """
        middle, flow, tally = self._look(), self._flow, self._tally
        if middle is None:
            return False
        flow.open(middle, tally.kept, tally.room)
        try:
            await self._response.flow(flow, until)
        finally:
            tally.carried(flow.size)
        if flow.rest:
            await self._reply.send_framed(flow.rest)
        return True


def pump(response: object, reply: object, tally: Tally, look: Callable[[], Middle | None]) -> Pump | None:
    """A pump from `response` to `reply`, or None where only the plain loop carries."""
    if Flow is None or not isinstance(response, Response) or not isinstance(reply, H1Reply):
        return None
    source, sink = response.plain_source(), reply.plain_sink()
    if source is None or sink is None:
        return None
    link, decoder = source
    handle, chunked = sink
    return Pump(response, reply, tally, look, Flow(link.handle, decoder, handle, chunked, look, link.now))
