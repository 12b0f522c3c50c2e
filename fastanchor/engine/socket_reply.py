"""A WebSocket message as a request of its own: what it asks, and where its answer goes.

So a message takes the same way as a request of HTTP: key, scopes, limits, failover, ledger, receipt, cancellation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from fastanchor.core.principal import Principal
from fastanchor.core.usage import Usage
from fastanchor.engine.exchange import Exchange
from fastanchor.wire.bodies import Share
from fastanchor.wire.message import Header, Headers, Reply, Request
from fastanchor.wire.server_ws import WebSocket

_HANDSHAKE = ("connection", "upgrade", "sec-websocket-", "content-", "transfer-encoding", "origin", "host")


class Telling(Protocol):
    """An answer in a socket's language: bytes of the endpoint's dialect in, whole messages out."""

    def stream(self, data: bytes) -> list[bytes]:
        """The messages that these bytes of a stream complete."""

    def end(self, usage: Usage) -> list[bytes]:
        """The stream was whole."""

    def whole(self, body: bytes, usage: Usage) -> list[bytes]:
        """An answer that is no stream."""

    def error(self, status: int, body: bytes) -> list[bytes]:
        """An error body of the dialect."""


class Asked:
    """One message as a request (see `wire.message.Request`), with the handshake's headers or these."""

    def __init__(self, handshake: Request, headers: Sequence[Header], body: bytes = b"") -> None:
        self.method = b"POST"
        self.target = self.path = handshake.path
        self.query = b""
        self.headers = list(headers)
        self.peer = handshake.peer
        self.version = handshake.version
        self.secure = handshake.secure
        self.max_body = handshake.max_body
        self._unread = body
        self._share = Share()

    def get(self, name: bytes) -> bytes | None:
        return next((value for field, value in self.headers if field == name), None)

    async def body(self) -> bytes:
        self.hold(len(self._unread))
        return self._unread

    async def read(self) -> bytes:
        piece, self._unread = self._unread, b""
        return piece

    def hold(self, size: int) -> None:
        self._share.take(size)

    def give_back(self) -> None:
        """The message has been answered."""
        self._share.give_back()


def headers_of(handshake: Request) -> list[Header]:
    """What a handshake says of every message on its socket: all but what is its own."""
    names = tuple(name.encode() for name in _HANDSHAKE)
    return [(name, value) for name, value in handshake.headers if not name.startswith(names)]


class SocketReply:
    """The answer to one message (see `wire.message.Reply`).

    Args:
        over: called before the client can know that the answer has ended.
    """

    def __init__(self, socket: WebSocket, telling: Telling, exchange: Exchange, over: Callable[[], object]) -> None:
        self.started = False
        self._over = over
        self._socket = socket
        self._telling = telling
        self._exchange = exchange

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.started = True
        self._over()
        telling = self._telling
        await self._say(telling.whole(body, self._exchange.usage) if status == 200 else telling.error(status, body))

    async def start(self, status: int, headers: Headers, first: bytes = b"") -> None:
        self.started = True
        await self.send(first)

    async def send(self, data: bytes) -> None:
        await self._say(self._telling.stream(data))

    async def finish(self, last: bytes = b"") -> None:
        await self.send(last)
        self._over()
        await self._say(self._telling.end(self._exchange.usage))

    def abort(self) -> None:
        """The error that was sent says that the answer is broken; the socket goes on."""
        self._over()

    async def _say(self, messages: list[bytes]) -> None:
        for message in messages:
            await self._socket.send(message)


class Desk(Protocol):
    """What a socket needs of the gateway."""

    def whoever(self, request: Request, *, gemini: bool = False) -> Principal:
        """Who asks. Raises Fault."""

    def open(self, request: Request, endpoint: str, dialect: str) -> Exchange:
        """A new exchange."""

    async def answer(self, exchange: Exchange, reply: Reply) -> None:
        """Take it through its life. Raises ClientGone; faults are told."""


class Opened:
    """A socket whose client is known, and what every message on it has in common."""

    def __init__(self, socket: WebSocket, desk: Desk, handshake: Request, headers: Sequence[Header]) -> None:
        self.socket = socket
        self.desk = desk
        self.handshake = handshake
        self.headers = headers

    def asked(self, body: bytes, *more: Header) -> Asked:
        """A message as a request."""
        return Asked(self.handshake, (*self.headers, *more), body)
