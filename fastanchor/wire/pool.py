"""The pool of upstream connections: requests in, responses out, connections kept and counted per origin.

`roster.Roster` decides; this shell waits, opens and closes. A connection that has been used before may have been
closed by the other side just as a request goes out: if it ends before one byte of the response, the request is sent
once more, on a fresh connection, and never a third time.
"""

from __future__ import annotations

import math
import ssl
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from .client_h1 import ClientConnection, Response, compose
from .dial import Dialer, Origin
from .errors import ConnectFailed, ConnectTimeout, ResetBeforeResponse
from .link import Link
from .message import Headers

if TYPE_CHECKING:
    from .multiplex import Multiplexer
    from .response_h2 import H2Response
    from .upload import Source
from .roster import Roster, Ticket
from .sweep import sweeper


class Pool:
    """Connections to any number of origins; belongs to one trio run. Close it, or use it as a context manager."""

    def __init__(
        self,
        *,
        max_per_origin: int = 512,
        idle_seconds: float = 60.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._roster: Roster[ClientConnection] = Roster(max_per_origin, idle_seconds)
        self._dialer = Dialer(ssl_context)
        self._max_per_origin = max_per_origin
        self._idle_seconds = idle_seconds
        self._nursery: trio.Nursery | None = None  # of HTTP/2 connections
        self._multiplexer: Multiplexer | None = None
        self._closed = False
        self.deadline = math.inf

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after HTTP/2 connections until cancelled; without it every origin is spoken to in HTTP/1.1."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = self._multiplexer = None

    async def request(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes = b"",
        *,
        connect_timeout: float,
        first_byte_timeout: float | None,
    ) -> Response | H2Response:
        """Send a request, and return when the head of its response has been read.

        `connect_timeout` bounds the wait for a place under the cap, and then DNS, TCP and TLS together;
        `first_byte_timeout` runs from the send to the whole response head. Raises the client side of `errors`.
        """
        connection = self._roster.take(origin)  # one that is idle also says which version is spoken
        if connection is None:
            found = await self._multiplexed(
                origin, method, target, headers, body,
                connect_timeout=connect_timeout, first_byte_timeout=first_byte_timeout,
            )  # fmt: skip
            if found is not None and not isinstance(found, Link):
                return found
            connection = await self._place(origin, found, connect_timeout)
        if connection is not None and not connection.link.handle.silent():
            connection = self._living(connection)
        return await self._ask(
            connection, origin, method, target, headers, body,
            connect_timeout=connect_timeout, first_byte_timeout=first_byte_timeout,
        )  # fmt: skip

    async def _ask(
        self,
        connection: ClientConnection | None,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes,
        unsent: bytes | None = None,
        *,
        connect_timeout: float,
        first_byte_timeout: float | None,
    ) -> Response:
        """Ask on `connection`, or a new one. With `unsent` this much is still to be sent of what began without us."""
        try:
            head = compose(origin, method, target, headers, body)
            while True:
                fresh = connection is None or connection.used == 0
                if connection is None:
                    connection = ClientConnection(origin, await self._dialer.dial(origin, connect_timeout))
                try:
                    if unsent is None:
                        answer, rest = await connection.ask(head, body, within=first_byte_timeout)
                    else:
                        answer, rest = await connection.ask(b"", unsent, within=first_byte_timeout)
                    break
                except ResetBeforeResponse:
                    if fresh:
                        raise
                    connection.link.close()
                    connection = unsent = None
        except BaseException:
            if connection is not None:
                connection.link.close()
            self._roster.leave(origin, None, trio.current_time())
            raise
        return Response(self, connection, answer, rest, reused=not fresh, for_head=method == b"HEAD")

    def idle(self, origin: Origin) -> ClientConnection | None:
        """An idle connection over a plain socket, for a caller who sends and hears by itself. It gives it back with
        `take_back`, or lets `go_on` read the response."""
        connection = self._roster.take(origin)
        if connection is None:
            return None
        if connection.link.handle.silent() and type(connection.link) is Link:
            return connection
        self._roster.leave(origin, connection, trio.current_time())  # whoever takes it next looks at it again
        return None

    async def go_on(
        self,
        connection: ClientConnection,
        unsent: bytes,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes,
        *,
        connect_timeout: float,
        first_byte_timeout: float | None,
    ) -> Response:
        """As `request`, of a request that was sent on `connection` (from `idle`), but for `unsent`."""
        return await self._ask(
            connection, origin, method, target, headers, body, unsent,
            connect_timeout=connect_timeout, first_byte_timeout=first_byte_timeout,
        )  # fmt: skip

    async def upload(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Headers,
        source: Source,
        length: int | None,
        *,
        connect_timeout: float,
        first_byte_timeout: float | None,
    ) -> Response:
        """As `request`, for a body that is passed on while it comes: see `upload.upload`."""
        from .upload import upload

        if origin.http2 == "on":
            raise ConnectFailed("uploads go over HTTP/1.1, which is turned off for this origin")
        link = await self._dialer.dial(origin, connect_timeout)
        return await upload(
            link, origin, method, target, headers, source, length, first_byte_timeout=first_byte_timeout
        )

    async def _multiplexed(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes,
        *,
        connect_timeout: float,
        first_byte_timeout: float | None,
    ) -> H2Response | Link | None:
        """The response over HTTP/2; else None, or a link to a peer that has turned out to speak HTTP/1.1 only."""
        if origin.http2 == "off" or (origin.http2 != "on" and origin.scheme != "https"):
            return None
        multiplexer = self._multiplexer or self._multiplex()
        if multiplexer is not None and multiplexer.may_serve(origin):
            return await multiplexer.request(
                origin, method, target, headers, body,
                connect_timeout=connect_timeout, first_byte_timeout=first_byte_timeout,
            )  # fmt: skip
        if origin.http2 == "on":
            raise ConnectFailed("HTTP/2 is asked for, and nobody looks after its connections")
        return None

    def _multiplex(self) -> Multiplexer | None:
        """The HTTP/2 connections, when somebody looks after them; loaded when they are first wanted."""
        if self._nursery is None:
            return None
        from .multiplex import Multiplexer

        self._multiplexer = Multiplexer(self._dialer, self._nursery, self._max_per_origin, self._idle_seconds)
        return self._multiplexer

    async def _place(self, origin: Origin, link: Link | None, within: float) -> ClientConnection | None:
        """A place under the cap of `origin`, with an idle connection if there is one by now, or over `link`."""
        try:
            connection = await self._wait_for_place(origin, within)
        except BaseException:
            if link is not None:
                link.close()
            raise
        if link is not None:
            if connection is None:
                return ClientConnection(origin, link)
            link.close()
        return connection

    def _living(self, connection: ClientConnection) -> ClientConnection | None:
        """`connection`, or another idle one, on which nothing has arrived unasked; None: open one."""
        candidate: ClientConnection | None = connection
        while candidate is not None and not candidate.silent():
            candidate.link.close()
            candidate = self._roster.another(connection.origin)
        return candidate

    async def _wait_for_place(self, origin: Origin, within: float) -> ClientConnection | None:
        granted = trio.Event()
        ticket: Ticket[ClientConnection] = Ticket(origin, granted.set)
        self._roster.enter(ticket)
        if not ticket.granted:
            try:
                with trio.fail_after(within):
                    await granted.wait()
            except BaseException as error:
                if not self._roster.withdraw(ticket):
                    self._roster.leave(origin, ticket.connection, trio.current_time())
                if isinstance(error, trio.TooSlowError):
                    raise ConnectTimeout(f"no free connection to {origin.host} within {within:g} s") from None
                raise
        return ticket.connection

    def take_back(self, connection: ClientConnection, *, reusable: bool) -> None:
        """A response is done with `connection`; called by the response itself."""
        link = connection.link
        if reusable and not self._closed and not link.closed:
            connection.used += 1
            self._roster.leave(connection.origin, connection, link.now())
            if self.deadline == math.inf:
                self._watch_idle()
        else:
            link.close()
            self._roster.leave(connection.origin, None, link.now())

    def _watch_idle(self) -> None:
        expiry = self._roster.next_expiry()
        self.deadline = math.inf if expiry is None else expiry
        if expiry is None:
            sweeper().discard(self)
        else:
            sweeper().add(self)

    def expire(self) -> None:
        """Close what has been idle for too long; called by the sweeper."""
        for connection in self._roster.expire(trio.current_time()):
            connection.link.close()
        self._watch_idle()

    def counts(self, origin: Origin) -> tuple[int, int, int]:
        """(connections in use or being opened, idle connections, waiting callers) of one origin."""
        return self._roster.counts(origin)

    def close(self) -> None:
        """Close every idle connection; those in use are closed when their responses are."""
        self._closed = True
        if self._multiplexer is not None:
            self._multiplexer.close()
        for connection in self._roster.take_idle():
            connection.link.close()
        self._watch_idle()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
