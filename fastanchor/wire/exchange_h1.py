"""One request and its answer on an HTTP/1.1 connection, as the handler sees them.

The request's body is framed by Content-Length or chunks, bounded in size, stillness and slowness, and asked for with
100 (Continue) where the client waits for that. The answer is one send where it is whole, one send per call where it is
a stream; to HEAD, and with 204 and 304, it has no body; to HTTP/1.0 a stream ends with the connection.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import Task

from fastanchor._speedups.http1 import (
    LAST_CHUNK,
    BadMessage,
    ChunkDecoder,
    RequestHead,
    chunk,
    response_head,
)
from fastanchor._speedups.reactor import Handle

from .bodies import ONE_READ, Share
from .date import date_line
from .errors import BadRequest, BodyTimeout, BodyTooLarge, ClientGone
from .hits import hit
from .link import BROKEN, DeadlinePassed, Link
from .message import OWN_FIELDS, Headers, Upgraded

if TYPE_CHECKING:
    from .server_h1 import Connection, Lane

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"
SPARE_LESSONS = 2
UPGRADE = b"connection: upgrade\r\nupgrade: websocket\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"


class H1Request:
    """One request (see `message.Request`)."""

    __slots__ = (
        "_connection",
        "_decoder",
        "_expected",
        "_first",
        "_left",
        "_received",
        "_waited",
        "ended",
        "headers",
        "max_body",
        "method",
        "path",
        "peer",
        "query",
        "secure",
        "share",
        "target",
        "version",
    )

    def __init__(self, connection: Connection, head: RequestHead) -> None:
        self._connection = connection
        self.method = head.method
        self.target = head.target
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.version = head.version
        self.peer = connection.peer
        self.secure = connection.secure
        self.max_body = connection.limits.body
        self._expected = head.expect_continue  # the client waits for 100 before it sends
        self._left = head.content_length or 0
        self._decoder: ChunkDecoder | None = None
        self._first: dict[bytes, bytes] | None = None
        self._received = 0
        self._waited = 0.0  # seconds spent waiting for the client
        self.share: Share | None = None  # of the bodies that are held, when this one is
        self.ended = not (self._left or head.chunked)
        """Nothing of the body is left to read."""

    def __repr__(self) -> str:
        return f"<{self.method.decode('ascii')} {self.path.decode('ascii')} from {self.peer}>"

    @property
    def teachable(self) -> bool:
        """Whether it is worth while that its connection learns its head: it has brought others, and what was learnt
        before was of use."""
        connection = self._connection
        guest = connection.guest
        return connection.served > 1 if guest is None else guest.lessons <= guest.taken + SPARE_LESSONS

    def learn(self, lane: Lane) -> bool:
        """Let requests with this head be served by `lane` from now on, where that can be."""
        return self.version == b"1.1" and self._decoder is None and self._connection.learn(lane)

    def get(self, name: bytes) -> bytes | None:
        if self._first is None:
            self._first = dict(reversed(self.headers))
        return self._first.get(name)

    async def body(self) -> bytes:
        connection = self._connection
        if 0 < self._left == len(connection.buffer) <= self.max_body:  # mostly it is here already, and alone
            data = connection.buffer
            connection.buffer = b""
            self._left = 0
            self.ended = True
            return data
        if self.max_body >= self._left > ONE_READ:
            self.hold(0, self._left)
        first = await self.read()
        if self.ended:
            return first
        self.hold(len(first))
        pieces = [first]
        while piece := await self.read():
            self.hold(len(piece))
            pieces.append(piece)
        return b"".join(pieces)

    def hold(self, size: int, coming: int = 0) -> None:
        if self.share is None:
            self.share = Share()
        self.share.take(size, coming)

    async def read(self) -> bytes:
        if self.ended:
            return b""
        connection = self._connection
        if not self._received and self._left > self.max_body:
            connection.ending = True
            hit("body")
            raise BodyTooLarge(self.max_body)
        if self._expected:
            self._expected = False
            if not connection.buffer:
                await connection.send(CONTINUE)
        while True:
            data = connection.buffer or await self._receive()
            piece = self._sized(data) if self._left else self._dechunked(data)
            self._received += len(piece)
            if piece or self.ended:
                return piece

    def _sized(self, data: bytes) -> bytes:
        rest = b""
        left = self._left - len(data)
        if left < 0:
            rest = data[self._left :]
            data = data[: self._left]
            left = 0
        self._connection.buffer = rest
        self._left = left
        self.ended = not left
        return data

    def _dechunked(self, data: bytes) -> bytes:
        connection = self._connection
        if self._decoder is None:
            self._decoder = ChunkDecoder(self.max_body, connection.limits.head)
        try:
            piece = self._decoder.feed(data)
        except BadMessage as error:
            connection.ending = True
            if error.status == 413:
                hit("body")
                raise BodyTooLarge(self.max_body) from None
            hit(error.bound or "bad_request")
            raise BadRequest(error.status, error.reason) from None
        connection.buffer = self._decoder.rest
        self.ended = self._decoder.done
        return piece

    async def _receive(self) -> bytes:
        """More bytes from the client, who may neither stall nor trickle; a fast handler's time is not the client's."""
        connection = self._connection
        limits = connection.limits
        link = connection.link
        now = link.now()
        slack = limits.body_grace + self._received / limits.body_rate - self._waited
        link.deadline = now + min(limits.body_stall, slack)
        try:
            data = await link.recv()
        except DeadlinePassed:
            connection.ending = True
            hit("body_rate" if slack < limits.body_stall else "body_stall")
            raise BodyTimeout from None
        except (OSError, trio.ClosedResourceError):
            connection.ending = True
            raise ClientGone("reset in the body") from None
        link.deadline = math.inf
        self._waited += link.now() - now
        if not data:
            connection.ending = True
            raise BadRequest(400, "body cut short")
        return data

    @property
    def skippable(self) -> bool:
        """Whether the connection can outlive this request though its body has not been read."""
        return self.ended or (0 < self._left <= self._connection.limits.linger_bytes and not self._expected)

    async def discard(self) -> None:
        """Read the rest of a small body that no handler wanted."""
        try:
            while not self.ended:
                await self.read()
        except (BadRequest, ClientGone):
            self._connection.ending = True


class H1Reply:
    """The answer to one request (see `message.Reply`)."""

    __slots__ = ("_bodiless", "_chunked", "_connection", "_request", "finished", "started")

    def __init__(self, connection: Connection, request: H1Request) -> None:
        self._connection = connection
        self._request = request
        self._bodiless = request.method == b"HEAD"
        self._chunked = False
        self.started = False
        self.finished = False

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        own = self._own_lines(status)
        if status != 204 and status != 304:
            own += b"content-length: %d\r\n" % len(body)
        elif body:
            raise ValueError(f"an answer with status {status} has no body")
        head = response_head(status, headers, own, OWN_FIELDS)
        self.started = True
        connection = self._connection
        try:
            await connection.link.send_both(head, b"" if self._bodiless else body, connection.limits.write_stall)
        except BROKEN as error:
            raise connection.lost(error) from None
        self.finished = True

    async def start(self, status: int, headers: Headers, first: bytes = b"") -> None:
        self._bodiless = self._bodiless or status == 204 or status == 304
        own = self._own_lines(status, stream=not self._bodiless)
        if not self._bodiless and self._chunked:
            own += CHUNKED
        head = response_head(status, headers, own, OWN_FIELDS)
        self.started = True
        await self._connection.send(head + self._framed(first))

    async def send(self, data: bytes) -> None:
        if self.finished or not self.started:
            raise RuntimeError("the answer is not being streamed")
        if data and not self._bodiless:
            connection = self._connection
            try:
                await connection.link.send(chunk(data) if self._chunked else data, connection.limits.write_stall)
            except BROKEN as error:
                raise connection.lost(error) from None

    def plain_sink(self) -> tuple[Handle[Task], bool] | None:
        """Where the bytes of a stream go, when that is a plain socket, and whether as chunks."""
        connection = self._connection
        if self._bodiless or self.finished or not self.started or type(connection.link) is not Link:
            return None
        return connection.link.handle, self._chunked

    async def send_framed(self, data: bytes) -> None:
        """Send what has got its chunk's frame already. Raises ClientGone."""
        await self._connection.send(data)

    async def finish(self, last: bytes = b"") -> None:
        if self.finished or not self.started:
            raise RuntimeError("the answer is not being streamed")
        if self._chunked:
            await self._connection.send(chunk(last) + LAST_CHUNK)
        elif last and not self._bodiless:
            await self._connection.send(last)
        self.finished = True

    async def upgrade(self, protocol: bytes, headers: Headers) -> Upgraded:
        connection = self._connection
        if self.started or not self._request.ended:
            raise RuntimeError("only a request without a body, and before its answer, can be upgraded")
        fields = [*headers, (b"connection", b"upgrade"), (b"upgrade", protocol)]
        head = response_head(101, fields, date_line())
        self.started = self.finished = connection.ending = True
        await connection.send(head)
        received, connection.buffer = connection.buffer, b""
        return Upgraded(connection.link, received, connection.limits, connection.drain)

    def abort(self) -> None:
        """Without a last chunk FIN is already seen as a broken end, and lets what was sent arrive; a body that ends
        with its connection needs RST to be seen as broken at all."""
        if not self.finished:
            self.finished = True
            self._connection.abort(reset=self.started and not self._chunked)

    def cancel(self) -> None:
        """See `message.Cancelling`."""
        self._connection.hung_up(full=True)

    def _framed(self, data: bytes) -> bytes:
        if self._bodiless:
            return b""
        return chunk(data) if self._chunked else data

    def _own_lines(self, status: int, stream: bool = False) -> bytes:
        """The fields that are the wire's own; decides whether the connection goes on."""
        if self.started:
            raise RuntimeError("the answer has already been started")
        if status < 200:
            raise ValueError(f"not a final status: {status}")
        connection = self._connection
        request = self._request
        self._chunked = stream and request.version == b"1.1"
        if connection.last or not (request.ended or request.skippable) or (stream and not self._chunked):
            connection.ending = True
        own = date_line()
        if status == 426:
            own += UPGRADE
        if connection.ending:
            return own + CLOSE
        return own + KEEP_ALIVE if request.version == b"1.0" else own
