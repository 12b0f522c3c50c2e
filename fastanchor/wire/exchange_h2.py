"""One request and its answer on an HTTP/2 stream, as the handler sees them.

The body waits in a buffer no larger than the stream's window and is acknowledged as the handler reads it. The answer is
one send where it is whole and the client's windows allow it; what they do not allow waits, for a bounded time: a client
that opens them byte by byte gets no more time than one that does not open them at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from fastanchor._speedups.http1 import RequestHead

from . import h2_grammar as grammar
from .bodies import ONE_READ, Share
from .date import date
from .errors import BadRequest, BodyTimeout, BodyTooLarge, ClientGone
from .hits import hit
from .link import DeadlinePassed
from .message import OWN_FIELDS, Headers
from .waiter import Waiter

if TYPE_CHECKING:
    from .server_h2 import H2Connection

LEAST_READ_RATE = 1024
"""Bytes per second that earn a client more patience than `window_stall`."""


class H2Request:
    """One request (see `message.Request`)."""

    __slots__ = (
        "_arrived",
        "_connection",
        "_expected",
        "_length",
        "_more",
        "_over",
        "_pieces",
        "_received",
        "_unacknowledged",
        "_waited",
        "headers",
        "id",
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

    def __init__(self, connection: H2Connection, stream_id: int, head: RequestHead, *, ended: bool) -> None:
        self._connection = connection
        self.id = stream_id
        self.method = head.method
        self.target = head.target
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.version = head.version
        self.peer = connection.peer
        self.secure = connection.secure
        self.max_body = connection.limits.body
        self._length = head.content_length
        self._arrived = 0
        self._expected = head.expect_continue  # the client waits for 100 before it sends
        self._pieces: list[bytes] = []
        self._more = Waiter()
        self._received = 0  # and read by the handler
        self._unacknowledged = 0
        self._waited = 0.0  # seconds spent waiting for the client
        self._over = ended
        self.share: Share | None = None  # of the bodies that are held, when this one is

    def __repr__(self) -> str:
        return f"<{self.method.decode('ascii')} {self.path.decode('ascii')} from {self.peer}>"

    @property
    def over(self) -> bool:
        """The client has sent all of it."""
        return self._over

    def get(self, name: bytes) -> bytes | None:
        for field, value in self.headers:
            if field == name:
                return value
        return None

    async def body(self) -> bytes:
        if self._length is not None and self.max_body >= self._length > ONE_READ:
            self.hold(0, self._length)
        pieces: list[bytes] = []
        while piece := await self.read():
            if pieces or not self._over:
                self.hold(len(piece))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def hold(self, size: int, coming: int = 0) -> None:
        if self.share is None:
            self.share = Share()
        self.share.take(size, coming)

    async def read(self) -> bytes:
        if not self._received and self._length is not None and self._length > self.max_body:
            hit("body")
            raise BodyTooLarge(self.max_body)
        if self._expected and not self._pieces and not self._over:
            self._connection.send_interim(self.id, 100)
        self._expected = False
        while not self._pieces:
            if self._over:
                return b""
            await self._wait()
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._received += len(piece)
        if self._received > self.max_body:
            hit("body")
            raise BodyTooLarge(self.max_body)
        if not self._over:
            self._unacknowledged = self._connection.consumed(self.id, self._unacknowledged + len(piece))
        return piece

    async def _wait(self) -> None:
        """For more of a body that may neither stall nor trickle; a fast handler's time is not the client's."""
        limits = self._connection.limits
        now = trio.current_time()
        slack = limits.body_grace + self._received / limits.body_rate - self._waited
        try:
            await self._more.sleep(min(limits.body_stall, max(0.0, slack)))
        except DeadlinePassed:
            hit("body_rate" if slack < limits.body_stall else "body_stall")
            raise BodyTimeout from None
        self._waited += trio.current_time() - now

    # -- called by the connection -------------------------------------------------------------------------------------

    def arrived(self, data: bytes, padding: int) -> bool:
        """DATA has come; its padding is as good as read. False when it is more than Content-Length said."""
        self._unacknowledged += padding
        self._arrived += len(data)
        if self._length is not None and self._arrived > self._length:
            return False
        if data:
            self._pieces.append(data)
            self._more.wake()
        return True

    def ended(self) -> bool:
        """The client has sent all of it. False when it is less than Content-Length said."""
        if self._length is not None and self._arrived < self._length:
            return False
        self._over = True
        self._more.wake()
        return True


class H2Reply:
    """The answer to one request (see `message.Reply`)."""

    __slots__ = ("_bodiless", "_connection", "_sent", "_waited", "finished", "id", "sending", "started")

    def __init__(self, connection: H2Connection, request: H2Request) -> None:
        self._connection = connection
        self._bodiless = request.method == b"HEAD"
        self._sent = 0
        self._waited = 0.0  # seconds spent waiting for the client
        self.id = request.id
        self.sending = Waiter()
        self.started = False
        self.finished = False

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        fields = [*self._fields(status, headers)]
        if status != 204 and status != 304:
            fields.append((b"content-length", b"%d" % len(body)))
        elif body:
            raise ValueError(f"an answer with status {status} has no body")
        bodiless = self._bodiless or not body
        self._send_head(status, fields, end=bodiless)
        if not bodiless:
            await self._send(body, end=True)
        else:
            self._connection.flush()
        self._finish()

    async def start(self, status: int, headers: Headers, first: bytes = b"") -> None:
        self._bodiless = self._bodiless or status == 204 or status == 304
        self._send_head(status, self._fields(status, headers), end=self._bodiless)
        if first and not self._bodiless:
            await self._send(first, end=False)
        else:
            self._connection.flush()

    async def send(self, data: bytes) -> None:
        if data and not self._bodiless:
            await self._send(data, end=False)

    async def finish(self, last: bytes = b"") -> None:
        if not self._bodiless:
            await self._send(last, end=True)
        self._finish()

    def abort(self) -> None:
        if not self.finished:
            self._connection.reset(self.id, ErrorCodes.INTERNAL_ERROR)
            self.finished = True

    def cancel(self) -> None:
        """See `message.Cancelling`."""
        self.abort()
        if (stream := self._connection.streams.get(self.id)) is not None:
            stream.scope.cancel()

    def _finish(self) -> None:
        self.finished = True
        self._connection.answered(self.id)

    def _fields(self, status: int, headers: Headers) -> Headers:
        if self.started:
            raise RuntimeError("the answer has already been started")
        if status < 200:
            raise ValueError(f"not a final status: {status}")
        for name, _ in headers:
            if name in OWN_FIELDS:
                raise ValueError(f"{name.decode('ascii')} is written by the wire")
        return [*headers, (b"date", date())]

    def _send_head(self, status: int, headers: Headers, *, end: bool) -> None:
        fields = grammar.response_fields(status, headers)
        self._check_open()
        self.started = True
        try:
            self._connection.h2.send_headers(self.id, fields, end_stream=end)
        except ProtocolError:
            raise ClientGone("the stream was reset") from None

    async def _send(self, data: bytes, *, end: bool) -> None:
        connection = self._connection
        self._check_open()
        try:
            if not data:
                connection.h2.end_stream(self.id)
                connection.flush()
                return
            rest = memoryview(data)
            while rest := connection.frame_body(self, rest, end=end):
                if connection.may_send(self):
                    await trio.lowlevel.checkpoint()  # others have their turn
                else:
                    await self._wait(len(data) - len(rest))
                self._check_open()
        except ProtocolError:
            raise ClientGone("the stream was reset") from None
        self._sent += len(data)

    async def _wait(self, sent: int) -> None:
        """For the client to take more."""
        connection = self._connection
        now = trio.current_time()
        patience = connection.limits.h2.window_stall + (self._sent + sent) / LEAST_READ_RATE - self._waited
        try:
            await self.sending.sleep(max(0.0, patience))
        except DeadlinePassed:
            hit("h2_window_stall")
            connection.reset(self.id, ErrorCodes.CANCEL)
            self.finished = True
            raise ClientGone("the client does not read") from None
        self._waited += trio.current_time() - now

    def _check_open(self) -> None:
        if self._connection.link.closed or (self.finished and self.started):
            raise ClientGone("the stream is over")


def status_of(error: Exception) -> tuple[int, str]:
    """(status, reason) of the answer to a request whose handler failed with `error`."""
    return (error.status, error.reason) if isinstance(error, BadRequest) else (500, "internal error")


