"""The server's side of one HTTP/1.1 connection: requests in, answers out, one task, in order.

The loop reads a head, runs the handler, and sees to it that both messages are finished before the next head is read
(RFC 9112 §9.3). Nothing is read behind an error or behind an answer that says `Connection: close`; such a connection
ends with a lingering read, so that the answer reaches a client that is still sending (§9.6). A client that leaves
cancels the handler through the connection's one cancel scope.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import socket
from typing import Protocol

import trio

from fastanchor._speedups.express import EXPRESS, Guest
from fastanchor._speedups.http1 import BadMessage, RequestHead, parse_request, response_head

from .errors import BadRequest, ClientGone
from .exchange_h1 import H1Reply, H1Request
from .hits import hit
from .limits import DEFAULT_LIMITS, ServerLimits
from .link import BROKEN, DeadlinePassed, Link
from .message import ErrorShape, Handler, plain_error
from .occupancy import Occupancy, alone

logger = logging.getLogger(__name__)

LENGTH = re.compile(rb"(?i)(?<=\r\ncontent-length: )[1-9][0-9]{0,5}(?=\r\n)")

IDLE_GRACE = 1.0
"""Seconds for which an idle connection outlives the start of a drain. Its client does not know of it yet: closing under
a request that is on its way would make that fail."""


class Drainable(Protocol):
    """A connection, as its listener's drain sees it."""

    def end_if_idle(self) -> None:
        """The listener drains: end now, or with the answers that are under way."""

    def hurry(self, seconds: float) -> None:
        """Places are wanted: one that is kept for a next request is kept for so long at most."""


class Drain:
    """A listener's promise to end: started once, it closes idle connections and makes every answer the last.

    `occupancy`: what the listener's worker has open, beside others that accept from the same socket.
    """

    def __init__(self, occupancy: Occupancy | None = None) -> None:
        self.started = False
        self.occupancy = alone() if occupancy is None else occupancy
        self.accepting = trio.CancelScope()
        self.connections: set[Drainable] = set()

    def start(self) -> None:
        """Accept nobody any more; connections end with the answer that they are at."""
        self.started = True
        self.occupancy.leave()
        self.accepting.cancel()
        for connection in list(self.connections):
            connection.end_if_idle()

    def hurry(self, seconds: float) -> None:
        """Nearly all places are taken."""
        for connection in self.connections:
            connection.hurry(seconds)


class Lane(Protocol):
    """Who serves a guest's requests: see `_speedups.express`, and what the connection itself asks of it."""

    def begin(self, guest: Guest, body: bytes) -> bool:
        """Take a request on, or not."""

    def end(self, guest: Guest, body: bytes, keep_alive: bool) -> bool:
        """Answer it, or not."""

    def go_on(self, guest: Guest) -> Handler:
        """Who serves the request that the guest was at."""

    def abandon(self, guest: Guest) -> None:
        """The connection ends while the guest is at a request."""


def express_failed(error: BaseException) -> None:
    """A bug of ours: the request is served in the ordinary way."""
    logger.error("a request could not be served within the reactor", exc_info=error)


class Connection:
    """One client. Requests and replies reach the socket through it."""

    __slots__ = (
        "buffer",
        "drain",
        "ending",
        "gone",
        "guest",
        "handler",
        "head",
        "idle",
        "limits",
        "link",
        "on_error",
        "peer",
        "scope",
        "secure",
        "served",
        "serving",
    )

    def __init__(
        self,
        link: Link,
        handler: Handler,
        limits: ServerLimits,
        peer: str,
        secure: bool,
        on_error: ErrorShape,
        drain: Drain | None,
        received: bytes = b"",
    ) -> None:
        self.link = link
        self.handler = handler
        self.limits = limits
        self.peer = peer
        self.secure = secure
        self.on_error = on_error
        self.drain = drain
        self.scope = trio.CancelScope()
        self.buffer = received  # and not yet read by anybody
        self.served = 0
        self.idle = False  # between two requests
        self.serving = False  # a handler is running
        self.ending = False  # no further request on this connection
        self.gone = False  # the peer hung up
        self.guest: Guest | None = None  # serves what is like a request that was served before
        self.head = b""  # of the request that is being served, as it came

    async def run(self) -> None:
        """Serve until the connection ends, and close it."""
        self.link.handle.watch(self.hung_up)
        if self.drain is not None:
            self.drain.connections.add(self)
        try:
            with self.scope, contextlib.suppress(OSError, trio.ClosedResourceError):
                await self._serve()
        finally:
            if self.drain is not None:
                self.drain.connections.discard(self)
            if self.guest is not None and self.guest.busy:
                self.guest.give_up()
                self.guest.lane.abandon(self.guest)
            self.guest = None  # what it has learnt goes with it, and waits for no collector
            self.link.close()

    async def _serve(self) -> None:
        try:
            while not self.ending and (head := await self._next_head()) is not None:
                await self._answer(head)
                if self.buffer:  # pipelined: nothing has waited, so let others run
                    await trio.lowlevel.checkpoint()
        except BadMessage as error:
            hit(error.bound or "bad_request")
            await self._refuse(error.status, error.reason)
        else:
            if not self.link.closed:
                await self._linger()

    # -- heads --------------------------------------------------------------------------------------------------------

    async def _next_head(self) -> RequestHead | None:
        """The next request's head; None when the client has no more or says nothing in time."""
        link = self.link
        limits = self.limits
        if not self.buffer:
            self.idle = True
            link.deadline = link.now() + (limits.idle if self.served else limits.head_deadline)
            try:
                self.buffer = await (link.recv() if self.guest is None else self._unlike(self.guest))
            except DeadlinePassed:
                if not self.last:
                    hit("idle" if self.served else "head_deadline")
                return None
            self.idle = False
        head = parse_request(self.buffer, limits.head) if self.buffer else None
        if head is None and self.buffer:
            head = await self._rest_of_head()
        link.deadline = math.inf
        if head is not None:
            self.head = self.buffer[: head.size]
            self.buffer = self.buffer[head.size :]
        return head

    async def _unlike(self, guest: Guest) -> bytes:
        """The next bytes that are not for the guest, or the request that it is at and cannot end by itself."""
        link = self.link
        guest.rest_in(True)
        try:
            while True:
                try:
                    data = await link.recv()
                except DeadlinePassed:
                    if not guest.busy:
                        raise
                    guest.give_up()
                    continue
                rest = guest.rest
                if rest == b"":
                    return data
                guest.rest = b""
                if rest is None:
                    return b""
                await link.send(rest, self.limits.write_stall)
                link.deadline = link.now() + self.limits.idle
                guest.rest_in(True)
        finally:
            guest.rest_in(False)

    def learn(self, lane: Lane) -> bool:
        """Let requests with the head of this one be served by `lane`. False: this is no such connection or head."""
        guest = self.guest
        if guest is None:
            if not EXPRESS or type(self.link) is not Link:
                return False
            guest = self.guest = Guest(self.link.handle, self, express_failed)
        around = LENGTH.split(self.head)
        if len(around) != 2:
            return False
        guest.learn(around[0], around[1], lane)
        return True

    async def _rest_of_head(self) -> RequestHead | None:
        """A head that did not come in one piece; BadMessage(408) when it takes too long."""
        self.link.deadline = trio.current_time() + self.limits.head_deadline
        head = None
        while head is None:
            scanned = len(self.buffer)
            try:
                more = await self.link.recv()
            except DeadlinePassed:
                raise BadMessage(408, "request head came too slowly", "head_deadline") from None
            if not more:
                return None
            self.buffer += more
            head = parse_request(self.buffer, self.limits.head, scanned)
        return head

    # -- one request --------------------------------------------------------------------------------------------------

    async def _answer(self, head: RequestHead) -> None:
        """Run the handler on one request, and see both messages to their end."""
        self.served += 1
        guest = self.guest
        handler = self.handler if guest is None or not guest.busy else guest.lane.go_on(guest)
        if self.gone:
            self.ending = True
            if handler is self.handler:  # it left before anybody looked at the request
                return
            self.scope.cancel()
        if not head.keep_alive:
            self.ending = True
        elif self.served >= self.limits.requests:
            hit("requests")
            self.ending = True
        request = H1Request(self, head)
        reply = H1Reply(self, request)
        self.serving = True
        try:
            await handler(request, reply)
        except Exception as error:
            await self._failed(request, reply, unwrapped(error))
        except BaseException:
            reply.abort()
            raise
        finally:
            self.serving = False
            if request.share is not None:
                request.share.give_back()
        if self.gone or not reply.finished or not request.ended:
            await self._settle(request, reply)

    async def _failed(self, request: H1Request, reply: H1Reply, error: Exception) -> None:
        """The handler did not come to an end of its own."""
        if isinstance(error, ClientGone):
            reply.abort()
        elif isinstance(error, BadRequest):
            await self._answer_error(reply, error.status, error.reason)
        else:
            logger.error("handler failed: %r", request, exc_info=error)
            await self._answer_error(reply, 500, "internal error")

    async def _answer_error(self, reply: H1Reply, status: int, reason: str) -> None:
        """Answer what the handler did not; what it has begun can only be broken off."""
        if reply.started:
            reply.abort()
            return
        self.ending = True
        headers, body = self.on_error(status, reason)
        with contextlib.suppress(ClientGone):
            await reply.respond(status, headers, body)

    async def _settle(self, request: H1Request, reply: H1Reply) -> None:
        """Before the next head: the answer is whole, and nothing is left of the request's body."""
        if self.gone:
            reply.abort()
        elif not reply.finished:
            logger.error("handler left its answer unfinished: %r", request)
            await self._answer_error(reply, 500, "internal error")
        if not self.ending and not request.ended:
            await request.discard()

    async def send(self, data: bytes) -> None:
        """Bytes of an answer. Raises ClientGone."""
        try:
            await self.link.send(data, self.limits.write_stall)
        except BROKEN as error:
            raise self.lost(error) from None

    def lost(self, error: Exception) -> ClientGone:
        """Nobody can be answered any more, because of `error`."""
        if isinstance(error, DeadlinePassed):
            hit("write_stall")
        self.gone = self.ending = True
        return ClientGone("the client reset the connection, or does not read")

    # -- endings ------------------------------------------------------------------------------------------------------

    @property
    def last(self) -> bool:
        """Whether an answer that starts now is the last on this connection."""
        return self.ending or (self.drain is not None and self.drain.started)

    def hung_up(self, full: bool) -> None:
        """The client ended its sending side, or (`full`) left: cancel whoever works for it."""
        if full or self.limits.half_close_aborts:
            self.gone = True
            if self.serving:
                self.scope.cancel()
            elif self.guest is not None and self.guest.busy:
                self.guest.give_up()

    def end_if_idle(self) -> None:
        """The listener drains: a request that is on its way already is still answered, then nobody waits."""
        if self.idle:
            self.link.deadline = min(self.link.deadline, trio.current_time() + IDLE_GRACE)
        elif self.guest is not None and self.guest.busy:
            self.guest.give_up()

    def hurry(self, seconds: float) -> None:
        """Keep an idle connection for so long at most."""
        by = trio.current_time() + seconds
        if self.idle and self.served and self.link.deadline > by:
            hit("pressed_idle")
            self.link.deadline = by

    def abort(self, *, reset: bool) -> None:
        """Close under a broken answer, now."""
        self.ending = True
        if reset:
            self.link.reset()
        else:
            self.link.close()

    async def _refuse(self, status: int, reason: str) -> None:
        """Answer a message that we could not read."""
        headers, body = self.on_error(status, reason)
        fields = [*headers, (b"connection", b"close"), (b"content-length", b"%d" % len(body))]
        with contextlib.suppress(DeadlinePassed):
            await self.link.send(response_head(status, fields) + body, self.limits.write_stall)
            await self._linger()

    async def _linger(self) -> None:
        """Say that no more comes, and read a little of what does, so that no RST overtakes the answer."""
        self.link.end()
        self.link.deadline = trio.current_time() + self.limits.linger
        left = self.limits.linger_bytes
        with contextlib.suppress(DeadlinePassed):
            while left > 0:
                if not (data := await self.link.recv()):
                    return
                left -= len(data)
        hit("linger")


def unwrapped(error: Exception) -> Exception:
    """The error itself, where nurseries have wrapped it in groups of one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def serve_connection(
    sock: socket.socket,
    handler: Handler,
    limits: ServerLimits = DEFAULT_LIMITS,
    *,
    peer: str = "unix",
    secure: bool = False,
    on_error: ErrorShape = plain_error,
    drain: Drain | None = None,
) -> None:
    """Serve the requests of one connected stream socket until it ends; the socket is closed in every case."""
    await Connection(Link(sock), handler, limits, peer, secure, on_error, drain).run()
