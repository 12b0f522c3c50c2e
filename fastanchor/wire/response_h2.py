"""One response on an HTTP/2 stream, as its reader sees it: the surface of `message.Response`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio
from h2.errors import ErrorCodes

from fastanchor._speedups.http1 import ResponseHead

from .errors import BadResponse, NothingYet, ReadTimeout, ResetBeforeResponse, Truncated
from .link import DeadlinePassed
from .message import Header
from .waiter import Waiter

if TYPE_CHECKING:
    from .client_h2 import H2Client

MAX_INTERIM = 10


class NotProcessed(ResetBeforeResponse):
    """The server has not looked at the request: it can safely be sent again."""


class H2Response:
    """One response: its head whole once `H2Client.request` has returned it, its body to be read."""

    __slots__ = (
        "_client",
        "_error",
        "_for_head",
        "_interim",
        "_left",
        "_over",
        "_pieces",
        "_still_since",
        "_unacknowledged",
        "began",
        "complete",
        "headers",
        "id",
        "idle_timeout",
        "patience",
        "reused",
        "sending",
        "sent",
        "status",
    )

    def __init__(self, client: H2Client, stream_id: int, *, reused: bool, for_head: bool, sent: bool) -> None:
        self.id = stream_id
        self.status = 0
        """0 while there is no head."""
        self.headers: list[Header] = []
        self.reused = reused
        self.idle_timeout: float | None = None
        """Seconds allowed between two reads of the body; None: no limit."""
        self.patience: float | None = None
        """Seconds after which a read raises NothingYet and may be called again; None: reads wait for `idle_timeout`."""
        self.complete = False
        self.sent = sent
        """The request has been sent whole."""
        self.began = trio.current_time()
        self.sending = Waiter()
        """Whoever sends the request or reads the response sleeps here."""
        self._client = client
        self._for_head = for_head
        self._interim = 0
        self._pieces: list[bytes] = []
        self._unacknowledged = 0
        self._left: int | None = None  # bytes that Content-Length still promises
        self._error: Exception | None = None
        self._still_since: float | None = None  # since when a read that was given up has waited
        self._over = False  # on the wire: whole, or broken

    def __repr__(self) -> str:
        return f"<response {self.status}{' complete' if self.complete else ''}>"

    def __enter__(self) -> H2Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, name: bytes) -> bytes | None:
        """The first value of the field `name` (lower case)."""
        for field, value in self.headers:
            if field == name:
                return value
        return None

    async def read(self) -> bytes:
        """The next bytes of the body, b"" at its complete end.

        Raises ReadTimeout, Truncated, BadResponse; the stream has then ended. Raises NothingYet; it then has not.
        """
        while not self._pieces:
            if self.complete:
                return b""
            if self._error is not None:
                raise self._error
            if self._over:
                raise Truncated("the response has been closed")
            await self._wait()
        self._still_since = None
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        if not self._over:
            self._unacknowledged = self._client.consumed(self.id, self._unacknowledged + len(piece))
        elif self._error is None:
            self.complete = True
        return piece

    async def _wait(self) -> None:
        """For more, as long as patience lasts; what was waited before counts towards the idle timeout."""
        now = trio.current_time()
        if self._still_since is None:
            self._still_since = now
        gives_up = math.inf if self.idle_timeout is None else self._still_since + self.idle_timeout
        until = gives_up if self.patience is None else min(gives_up, now + self.patience)
        try:
            await self.sending.sleep(None if until == math.inf else max(0.0, until - now))
        except DeadlinePassed:
            if until < gives_up:
                raise NothingYet("nothing within the reader's patience") from None
            self.close()
            raise ReadTimeout(f"no bytes of the body within {self.idle_timeout:g} s") from None

    async def read_all(self, limit: int) -> bytes:
        """The whole rest of the body. Raises as `read` does, and BadResponse when it is over `limit` bytes."""
        pieces = []
        size = 0
        while piece := await self.read():
            size += len(piece)
            if size > limit:
                self.close()
                raise BadResponse(f"response body over {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Nobody reads on: an unfinished stream is reset, the connection stays."""
        self._pieces.clear()
        if not self._over:
            self._over = True
            self._client.reset(self.id, ErrorCodes.CANCEL)
            self._client.over(self.id)

    # -- called by the client -----------------------------------------------------------------------------------------

    def raise_early(self) -> None:
        """Raise what has gone wrong before the head came."""
        if self._error is not None and not self.status:
            raise self._error

    def interim_came(self) -> None:
        self._interim += 1
        if self._interim > MAX_INTERIM:
            self.malformed("too many interim responses")

    def began_answer(self, head: ResponseHead) -> None:
        self.status = head.status
        self.headers = head.headers
        self._left = 0 if self._for_head or head.status in (204, 304) else head.content_length
        self.sending.wake()

    def arrived(self, data: bytes, padding: int) -> None:
        """DATA has come; its padding is as good as read."""
        self._unacknowledged += padding
        if not data:
            return
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.malformed("body longer than its Content-Length")
                return
        self._pieces.append(data)
        self.sending.wake()

    def ended(self) -> None:
        """The server has sent all of it."""
        if self._left:
            self.fail(Truncated("body shorter than its Content-Length"))
            return
        if not self.sent:  # nobody wants the rest of the request
            self._client.reset(self.id, ErrorCodes.CANCEL)
        self._finish()
        self.complete = not self._pieces

    def malformed(self, reason: str) -> None:
        """The server broke the protocol on this stream."""
        if not self._over:
            self._client.reset(self.id, ErrorCodes.PROTOCOL_ERROR)
            self.fail(BadResponse(reason))

    def fail(self, error: Exception) -> None:
        """The stream has ended early."""
        if not self._over:
            self._error = error
            self._finish()

    def _finish(self) -> None:
        self._over = True
        self._client.over(self.id)
        self.sending.wake()
