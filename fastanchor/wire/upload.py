"""Requests whose body is passed on while it comes, over HTTP/1.1 on a connection of their own; never sent twice.

An upstream that refuses before it has read all (RFC 9112 §9.3) is heard out at once, and the rest is not sent; one that
begins a good answer early gets the rest all the same. The time for its answer runs from the end of the body.
"""

from __future__ import annotations

import math
from typing import Protocol

import trio

from fastanchor._speedups.http1 import LAST_CHUNK, BadMessage, ResponseHead, chunk, request_head

from .client_h1 import ClientConnection, Response
from .dial import Origin
from .errors import BadResponse, ResetBeforeResponse, ResponseTimeout, WireError
from .link import DeadlinePassed, Link
from .message import OWN_FIELDS, Headers

WRITE_STALL = 60.0
"""Seconds without one byte taken by the upstream."""


class Source(Protocol):
    """A body as it comes: a server's request, or anything like it."""

    async def read(self) -> bytes:
        """The next piece, b"" at the end."""


class _Alone:
    """Owns one connection, and closes it behind its response."""

    def take_back(self, connection: ClientConnection, *, reusable: bool) -> None:
        connection.link.close()


async def upload(
    link: Link, origin: Origin, method: bytes, target: bytes, headers: Headers, source: Source, length: int | None,
    *, first_byte_timeout: float | None,
) -> Response:
    """Send a request over a fresh link, and return when the head of its response has been read.

    Args:
        length: of the body in bytes; None when nobody knows: it is then sent in chunks.

    Raises what `Pool.request` does, and what `source.read` does. The link is closed in every case.
    """
    sending = _Sending(link, source, chunked=length is None)
    connection = ClientConnection(origin, link)
    own = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
    head = request_head(method, target, headers, origin.authority, own, OWN_FIELDS)
    found: tuple[ResponseHead, bytes] | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sending.run, head, first_byte_timeout, nursery.cancel_scope, name="wire.upload")
            try:
                found = await connection.final_head(b"")
            except (BadMessage, WireError, DeadlinePassed, trio.ClosedResourceError) as error:
                sending.problem = sending.problem or _meaning(error)
            if found is None or found[0].status >= 300:
                nursery.cancel_scope.cancel()
            else:
                sending.scope.deadline = math.inf
    except BaseException:
        link.close()
        raise
    if found is None:
        link.close()
        raise sending.problem or ResponseTimeout(f"no response head within {first_byte_timeout or 0.0:g} s")
    if sending.problem is not None and found[0].status < 300:
        link.close()
        raise sending.problem
    response, data = found
    return Response(_Alone(), connection, response, data[response.size :], reused=False, for_head=False)


class _Sending:
    """The body on its way up. `problem` is why it was given up."""

    def __init__(self, link: Link, source: Source, *, chunked: bool) -> None:
        self.problem: Exception | None = None
        self.scope = trio.CancelScope()
        self._link = link
        self._source = source
        self._chunked = chunked

    async def run(self, head: bytes, answer_within: float | None, everything: trio.CancelScope) -> None:
        self.scope = everything
        try:
            await self._link.send(head, WRITE_STALL)
            while piece := await self._source.read():
                await self._link.send(chunk(piece) if self._chunked else piece, WRITE_STALL)
            if self._chunked:
                await self._link.send(LAST_CHUNK, WRITE_STALL)
        except (OSError, DeadlinePassed, trio.ClosedResourceError):
            pass  # who answers and closes before it has read all is heard out
        except WireError as error:  # the client's body is broken, or the client is gone
            self.problem = error
            everything.cancel()
            return
        if answer_within is not None:
            everything.deadline = trio.current_time() + answer_within


def _meaning(error: Exception) -> WireError:
    if isinstance(error, BadMessage):
        return BadResponse(error.reason)
    return error if isinstance(error, WireError) else ResetBeforeResponse("connection ended before the response")
