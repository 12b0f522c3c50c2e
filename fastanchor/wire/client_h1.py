"""The client's side of one HTTP/1.1 connection: a request out, its response in.

What an upstream sends is trusted no more than what a client sends: strict heads, a bounded number of interim
responses, and a body that is `complete` only when its framing says so. A connection is used again only when nothing
was left unread on it and nothing has arrived since (RFC 9112 §9.2, §9.3).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn, Protocol

import trio

from fastanchor._speedups.http1 import BadMessage, ChunkDecoder, ResponseHead, parse_response, request_head

from .dial import Origin
from .errors import BadResponse, NothingYet, ReadTimeout, ResetBeforeResponse, ResponseTimeout, Truncated
from .link import DeadlinePassed, Link
from .message import OWN_FIELDS, Headers

if TYPE_CHECKING:
    from fastanchor._speedups.pump import Flow

MAX_INTERIM = 10
UNTIL_CLOSE = -1


class Owner(Protocol):
    """Who lends connections out (`pool.Pool`)."""

    def take_back(self, connection: ClientConnection, *, reusable: bool) -> None: ...


class ClientConnection:
    """One connection to an origin."""

    __slots__ = ("link", "origin", "used")

    def __init__(self, origin: Origin, link: Link) -> None:
        self.origin = origin
        self.link = link
        self.used = 0
        """Responses that have been read from it."""

    def silent(self) -> bool:
        """Whether nothing has arrived while it was idle: neither bytes that nobody asked for, nor the end."""
        return self.link.handle.silent()

    async def ask(self, head: bytes, body: bytes, *, within: float | None) -> tuple[ResponseHead, bytes]:
        """Send a request; (response head, what came behind it).

        Raises ResetBeforeResponse, ResponseTimeout, Truncated, BadResponse.
        """
        link = self.link
        if within is not None:
            link.deadline = link.now() + within
        try:
            try:  # noqa: SIM105 - a context manager costs more than all else here
                await link.send_both(head, body)
            except OSError:  # who answers and closes before it has read all is heard out
                pass
            try:
                data = await link.recv()
            except OSError:
                data = b""
            if not data:
                raise ResetBeforeResponse("connection ended before the response")
            response = parse_response(data)
            if response is None or response.status < 200:
                response, data = await self.final_head(data)
            return response, data[response.size :]
        except DeadlinePassed:
            raise ResponseTimeout(f"no response head within {within:g} s") from None
        except BadMessage as error:
            raise BadResponse(error.reason) from None
        finally:
            link.deadline = math.inf

    async def final_head(self, data: bytes) -> tuple[ResponseHead, bytes]:
        """The head behind interim responses, or one that did not come in one piece, and the bytes it begins."""
        for _ in range(MAX_INTERIM + 1):
            scanned = 0
            while not data or (head := parse_response(data, scanned=scanned)) is None:
                scanned = len(data)
                try:
                    more = await self.link.recv()
                except OSError:
                    more = b""
                if not more:
                    raise Truncated("connection ended within the response head")
                data += more
            if head.status >= 200:
                return head, data
            if head.status == 101:
                raise BadResponse("unexpected 101 response")
            data = data[head.size :]
        raise BadResponse("too many interim responses")


def compose(origin: Origin, method: bytes, target: bytes, headers: Headers, body: bytes) -> bytes:
    """The head of a request. The wire writes Host (unless given) and the length of the body itself.

    Raises ValueError for a field that is the wire's own, UnsafeHeader for a byte that would break the head.
    """
    own = b"content-length: %d\r\n" % len(body) if body or method in (b"POST", b"PUT", b"PATCH") else b""
    return request_head(method, target, headers, origin.authority, own, OWN_FIELDS)


class Response:
    """One response: its head whole, its body to be read. Close it in every case; also a context manager."""

    __slots__ = (
        "_buffer",
        "_connection",
        "_decoder",
        "_first",
        "_keep_alive",
        "_left",
        "_owner",
        "_still_since",
        "complete",
        "headers",
        "idle_timeout",
        "patience",
        "reused",
        "status",
    )

    def __init__(
        self,
        owner: Owner,
        connection: ClientConnection,
        head: ResponseHead,
        rest: bytes,
        *,
        reused: bool,
        for_head: bool,
    ) -> None:
        self.status = head.status
        self.headers = head.headers
        self.reused = reused
        self.idle_timeout: float | None = None
        """Seconds allowed between two reads of the body; None: no limit."""
        self.patience: float | None = None
        """Seconds after which a read raises NothingYet and may be called again; None: reads wait for `idle_timeout`."""
        self._still_since: float | None = None  # since when a read that was given up has waited
        self.complete = False
        """The body has been read to the end that its framing promised."""
        self._owner = owner
        self._connection: ClientConnection | None = connection
        self._buffer = rest
        self._keep_alive = head.keep_alive
        self._decoder = None
        self._first: dict[bytes, bytes] | None = None
        length = head.content_length
        self._left = UNTIL_CLOSE if length is None else length
        if for_head or head.status == 204 or head.status == 304:
            self._left = 0
        elif head.chunked:
            self._decoder = ChunkDecoder()
        if self._left == 0 and self._decoder is None:
            self._end()

    def __repr__(self) -> str:
        return f"<response {self.status}{' complete' if self.complete else ''}>"

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, name: bytes) -> bytes | None:
        """The first value of the field `name` (lower case)."""
        if self._first is None:
            self._first = dict(reversed(self.headers))
        return self._first.get(name)

    async def read(self) -> bytes:
        """The next bytes of the body, as one receive brought them; b"" at its complete end.

        Raises ReadTimeout, Truncated, BadResponse; the connection is then closed. Raises NothingYet; it then is not.
        """
        data = self._buffer
        self._buffer = b""
        while not self.complete:
            if data and (piece := self._decoded(data)):
                return piece
            if not self.complete:
                data = await self._receive()
        return b""

    @property
    def dry(self) -> bool:
        """Whether the next read has to wait."""
        connection = self._connection
        return connection is not None and not self._buffer and not connection.link.handle.readable

    def plain_source(self) -> tuple[Link, ChunkDecoder] | None:
        """Whence a chunked body comes, over a plain socket, and who decodes it."""
        connection = self._connection
        if connection is None or self._decoder is None or type(connection.link) is not Link:
            return None
        return connection.link, self._decoder

    async def flow(self, flow: Flow, until: float) -> None:
        """Wait, as `read` does when it is `dry`, while what comes goes through the open `flow`. It is closed when this
        returns: when it needs somebody, or at the time `until`.

        Raises as `read` does.
        """
        connection, decoder = self._connection, self._decoder
        if connection is None or decoder is None:
            raise Truncated("the response has been closed")
        link = connection.link
        began = flow.since
        since = began if self._still_since is None else self._still_since
        link.deadline = min(self._deadline(since, began), until)
        try:
            try:
                await link.readable()
            finally:
                flow.close()
        except DeadlinePassed:
            if flow.since > began:
                since = began = flow.since
            if link.now() >= self._deadline(since, began) and not link.handle.readable:
                self._give_up(since)
            self._still_since = since
        except BadMessage as error:
            self.close()
            raise BadResponse(error.reason) from None
        else:
            self._still_since = None
        if decoder.done:
            self._buffer = decoder.rest
            self._end()

    async def read_all(self, limit: int) -> bytes:
        """The whole rest of the body. Raises as `read` does, and BadResponse when it is over `limit` bytes."""
        whole = self._buffer
        if 0 < self._left == len(whole) <= limit:  # mostly it came with the head
            self._buffer = b""
            self._end()
            return whole
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
        """Give the connection back, when the body was read whole and it can serve again; else close it at once."""
        connection = self._connection
        if connection is not None:
            self._connection = None
            self._owner.take_back(connection, reusable=False)

    async def _receive(self) -> bytes:
        """More bytes, b"" only where the end of the connection is the end of the body."""
        connection = self._connection
        if connection is None:
            raise Truncated("the response has been closed")
        link = connection.link
        now = link.now()
        since = now if self._still_since is None else self._still_since
        try:
            link.deadline = self._deadline(since, now)
            data = await link.recv()
        except DeadlinePassed:
            self._give_up(since)
        except OSError:
            self.close()
            raise Truncated("connection reset within the body") from None
        self._still_since = None
        if not data:
            if self._decoder is not None or self._left != UNTIL_CLOSE:
                self.close()
                raise Truncated("connection ended within the body")
            self._keep_alive = False
            self._end()
        return data

    def _deadline(self, since: float, now: float) -> float:
        """When a read has waited long enough, for good or for its caller."""
        end = math.inf if self.idle_timeout is None else since + self.idle_timeout
        return end if self.patience is None else min(end, now + self.patience)

    def _give_up(self, since: float) -> NoReturn:
        """A deadline has passed: that of the body (ReadTimeout), or only the reader's (NothingYet)."""
        if self.idle_timeout is None or trio.current_time() < since + self.idle_timeout:
            self._still_since = since
            raise NothingYet(f"no bytes of the body within {self.patience or 0.0:g} s")
        self.close()
        raise ReadTimeout(f"no bytes of the body within {self.idle_timeout:g} s")

    def _decoded(self, data: bytes) -> bytes:
        decoder = self._decoder
        if decoder is not None:
            try:
                piece = decoder.feed(data)
            except BadMessage as error:
                self.close()
                raise BadResponse(error.reason) from None
            if decoder.done:
                self._buffer = decoder.rest
                self._end()
            return piece
        if self._left == UNTIL_CLOSE:
            return data
        left = self._left - len(data)
        if left < 0:
            self._buffer = data[self._left :]
            data = data[: self._left]
            left = 0
        self._left = left
        if not left:
            self._end()
        return data

    def _end(self) -> None:
        """The body is whole: the connection goes back, unless something else came behind it."""
        self.complete = True
        connection = self._connection
        if connection is not None:
            self._connection = None
            connection.link.deadline = math.inf
            self._owner.take_back(connection, reusable=self._keep_alive and not self._buffer)
        self._buffer = b""
