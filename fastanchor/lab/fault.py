"""How a played upstream behaves: well, or with one fault, always or for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate

from fastanchor.providers.demo import Script, Send
from fastanchor.wire.errors import WireError
from fastanchor.wire.message import Header

JSON = (b"content-type", b"application/json")

Headers = Callable[[float], Sequence[Header]]
"""Unix seconds → fields of the answer."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One behaviour.

    Args:
        words: of the demo provider's grammar (see `providers.demo`), for each request.
        error: what the wire raises in place of an answer, `after` so many seconds.
        status, body, headers: an answer of its own, given `after` so many seconds.
        first: only the first so many requests meet it, None: all.
        until: seconds of the clock from which on it is over.
    """

    name: str
    words: str = ""
    error: type[WireError] | None = None
    after: float = 0.0
    status: int = 0
    body: bytes = b"{}"
    headers: Headers | None = None
    first: int | None = None
    until: float | None = None

    def due(self, number: int, now: float) -> bool:
        """Whether the `number`th request (from 1) meets it."""
        return (self.first is None or number <= self.first) and (self.until is None or now < self.until)

    def script(self, wall: float) -> Script:
        """Its own answer."""
        more = () if self.headers is None else tuple(self.headers(wall))
        return Script(self.status, (JSON, *more), (Send(self.body),))


GOOD = Fault("none")


def retry_after(value: bytes) -> Headers:
    """A fixed `Retry-After`."""
    return lambda wall: [(b"retry-after", value)]


def retry_after_date(seconds: float) -> Headers:
    """`Retry-After` as a date so many seconds ahead."""
    return lambda wall: [(b"retry-after", formatdate(wall + seconds, usegmt=True).encode("ascii"))]


def retry_after_ms(value: bytes) -> Headers:
    """`retry-after-ms`."""
    return lambda wall: [(b"retry-after-ms", value)]
