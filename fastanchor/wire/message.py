"""What a handler gets and gives, whatever the version of HTTP under it.

Field names are lower case everywhere. A handler never gives the fields of framing and connection (`OWN_FIELDS`): the
wire writes them, once, and refuses them from anybody else with ValueError.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .limits import ServerLimits
    from .link import Link
    from .server_h1 import Drain

Header = tuple[bytes, bytes]
Headers = Sequence[Header]

OWN_FIELDS = frozenset((b"connection", b"content-length", b"date", b"keep-alive", b"transfer-encoding", b"upgrade"))


class Request(Protocol):
    """One request: its head whole, its body to be read."""

    method: bytes
    target: bytes
    """The request-target as it came."""
    path: bytes
    """The target without its query; b"*" in asterisk-form."""
    query: bytes
    headers: list[Header]
    peer: str
    """`127.0.0.1:4242`, `[::1]:4242` or `unix`."""
    version: bytes
    """b"1.1", b"1.0" or b"2"."""
    secure: bool
    """Whether TLS ends here."""
    max_body: int
    """Bytes of body that `body` and `read` allow; a handler may change it before its first read."""

    def get(self, name: bytes) -> bytes | None:
        """The first value of the field `name` (lower case)."""

    async def body(self) -> bytes:
        """The whole body. Raises BodyTooLarge, NoRoomForBody, BodyTimeout, BadRequest, ClientGone."""

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end. Raises as `body` does, but for NoRoomForBody."""

    def hold(self, size: int) -> None:
        """So many bytes more are kept of what the body says, for as long as the request is served (see `bodies`).
        Raises NoRoomForBody."""


class Reply(Protocol):
    """The one answer to a request: `respond`, or `start` and `send`… and `finish`. All of them raise ClientGone, and
    RuntimeError out of this order."""

    started: bool
    """Whether the head has gone out: from here on only this answer can be given."""

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole answer, in one send."""

    async def start(self, status: int, headers: Headers, first: bytes = b"") -> None:
        """Head and first bytes of a body whose length is not known, in one send."""

    async def send(self, data: bytes) -> None:
        """More of the body, in one send; waits only while the client does not read."""

    async def finish(self, last: bytes = b"") -> None:
        """The end of the body, `last` before it, in one send."""

    def abort(self) -> None:
        """The answer is broken: end the connection so that the client cannot take it for whole."""


@dataclass(slots=True)
class Upgraded:
    """A connection that speaks another protocol from here on: its link, and what has been received on it."""

    link: Link
    received: bytes
    limits: ServerLimits
    drain: Drain | None


@runtime_checkable
class Upgrading(Protocol):
    """The reply of a version of HTTP that knows upgrades: HTTP/1.1."""

    async def upgrade(self, protocol: bytes, headers: Headers) -> Upgraded:
        """Answer 101 and hand the connection over, until the handler ends (RFC 9110 §7.8). Raises ClientGone."""


@runtime_checkable
class Cancelling(Protocol):
    """The reply of a connection of its own, whose handler can be stopped from outside."""

    def cancel(self) -> None:
        """End the request as if its client had left; the client sees its answer broken off."""


Handler = Callable[[Request, Reply], Awaitable[None]]

ErrorShape = Callable[[int, str], tuple[Headers, bytes]]
"""(status, reason) → (fields, body) of an answer that the wire gives by itself."""


def plain_error(status: int, reason: str) -> tuple[Headers, bytes]:
    """The shape of the wire's own errors where nobody gave another."""
    return [(b"content-type", b"text/plain; charset=utf-8")], f"{status} {reason}\n".encode()
