"""From an accepted socket to the protocol that its client speaks: TLS with ALPN, or what the first bytes say.

HTTP/2 comes over TLS when ALPN has chosen it, and in clear, or without ALPN, by prior knowledge: its preface is no
request that HTTP/1.1 takes (RFC 9113 §3.4). A newcomer has seconds for its handshake and for its first byte.
"""

from __future__ import annotations

import contextlib
import math
import re
import socket
import ssl

import trio

from .dial import close
from .h2_frames import PREFACE
from .hits import hit
from .limits import DEFAULT_LIMITS, ServerLimits
from .link import DeadlinePassed, Link
from .message import ErrorShape, Handler, plain_error
from .server_h1 import IDLE_GRACE, Connection, Drain
from .tls import TLSLink, handshake
from .tls_server import ServerTLS

NOT_HTTP = re.compile(rb"[^ /\r\n]+ [^ /\r\n]+ [^ /\r\n]+\r\n")
"""A first line in the shape of a request-line with neither a path nor an HTTP-version: there is nobody to answer."""


class Newcomer:
    """A client that has said nothing yet. Its first request may be on its way: a drain gives it the same moment as an
    idle connection."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()

    def end_if_idle(self) -> None:
        self.scope.deadline = trio.current_time() + IDLE_GRACE

    def hurry(self, seconds: float) -> None:
        """Nothing: it has seconds for its first byte as it is."""


async def serve_socket(
    sock: socket.socket,
    handler: Handler,
    limits: ServerLimits = DEFAULT_LIMITS,
    *,
    peer: str = "unix",
    secure: bool = False,
    on_error: ErrorShape = plain_error,
    drain: Drain | None = None,
    tls: ServerTLS | None = None,
) -> None:
    """Serve one connected stream socket until it ends, in the version of HTTP that it speaks; it is then closed."""
    drain = Drain() if drain is None else drain
    newcomer = Newcomer()
    drain.connections.add(newcomer)
    link: Link | None = None
    chosen = None
    received = b""
    try:
        with newcomer.scope, contextlib.suppress(OSError, DeadlinePassed, trio.ClosedResourceError):
            link = Link(sock) if tls is None else await accept_tls(sock, tls, limits.handshake)
            chosen = link.sock.selected_alpn_protocol() if isinstance(link, TLSLink) else None
            if chosen != "h2":
                received = await _first_bytes(link, limits, may_be_h2=chosen is None)
    finally:
        drain.connections.discard(newcomer)
        if not (received or chosen == "h2"):
            close(sock) if link is None else link.close()
    if link is None or link.closed:
        return
    if NOT_HTTP.match(received):
        hit("not_http")
        link.close()
        return
    secure = secure or tls is not None
    if chosen == "h2" or (chosen is None and received.startswith(PREFACE)):
        from .server_h2 import H2Connection  # loaded with the first of these connections

        await H2Connection(link, handler, limits, peer, secure, on_error, drain, received).run()
    else:
        await Connection(link, handler, limits, peer, secure, on_error, drain, received).run()


async def accept_tls(sock: socket.socket, tls: ServerTLS, within: float) -> TLSLink:
    """The server's side of the handshake. Raises OSError, DeadlinePassed; the socket is then closed."""
    sock.setblocking(False)
    wrapped = tls.context.wrap_socket(
        sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
    )
    try:
        with trio.move_on_after(within):
            await handshake(wrapped)
            return TLSLink(wrapped)
        hit("tls_handshake_timeout")
        raise DeadlinePassed
    except ssl.SSLError:
        hit("tls_handshake_failed")
        close(wrapped)
        raise
    except BaseException:
        close(wrapped)
        raise


async def _first_bytes(link: Link, limits: ServerLimits, *, may_be_h2: bool) -> bytes:
    """What a client says first, to where it is clear which protocol that is; b"" when it says nothing in time."""
    link.deadline = trio.current_time() + limits.head_deadline
    try:
        return await _told_apart(link, may_be_h2)
    except DeadlinePassed:
        hit("head_deadline")
        raise
    finally:
        link.deadline = math.inf


async def _told_apart(link: Link, may_be_h2: bool) -> bytes:
    data = await link.recv()
    while may_be_h2 and data and len(data) < len(PREFACE) and PREFACE.startswith(data):
        more = await link.recv()
        if not more:
            return b""
        data += more
    return data
