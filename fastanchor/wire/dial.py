"""From an origin to a connected link: name, address, TCP or unix socket, TLS.

Names are resolved in threads, one per name at a time, so that a name server that hangs holds up its own names only;
answers are kept for a short while, and a little longer when the next look-up fails. Addresses are tried in the order
of getaddrinfo (RFC 6724), each with its share of the time that is left.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import trio
from trio.lowlevel import wait_writable

from .errors import ConnectFailed, ConnectTimeout, TLSFailed
from .link import Link
from .tls import TLSLink, handshake

FRESH_SECONDS = 30.0
STALE_SECONDS = 60.0
LEAST_SHARE = 0.25
HTTP1 = ("http/1.1",)

Address = tuple[int, Any]
"""(address family, what `connect` takes)."""


class Origin(NamedTuple):
    """Where a request goes: `http` or `https`, a host name or address, a port; a host that is a path names a unix
    socket (its port is 0). Connections are shared by equal origins only."""

    scheme: str
    host: str
    port: int
    http2: Literal["auto", "on", "off"] = "auto"
    """`on` insists on it, in clear by prior knowledge; `auto` uses it where TLS's ALPN finds it."""
    verify_tls: bool = True

    @property
    def is_unix(self) -> bool:
        return self.host.startswith("/")

    @property
    def authority(self) -> bytes:
        """The value of Host: without the scheme's own port; `localhost` for a unix socket."""
        return authority_of(self)


@functools.lru_cache(maxsize=1024)
def authority_of(origin: Origin) -> bytes:
    """See `Origin.authority`; asked for with every request."""
    if origin.is_unix:
        return b"localhost"
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    usual = 443 if origin.scheme == "https" else 80
    return (host if origin.port == usual else f"{host}:{origin.port}").encode("ascii")


class Resolver:
    """Addresses of host names, remembered."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._limiters: dict[tuple[str, int], trio.CapacityLimiter] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses of `host`, best first. Raises ConnectFailed."""
        name = (host, port)
        now = trio.current_time()
        until, addresses = self._known.get(name, (0.0, []))
        if addresses and now < until:
            return addresses
        limiter = self._limiters.setdefault(name, trio.CapacityLimiter(1))
        try:
            found = await trio.to_thread.run_sync(look_up, host, port, limiter=limiter, abandon_on_cancel=True)
        except OSError as error:
            if addresses and now < until + STALE_SECONDS - FRESH_SECONDS:
                return addresses
            raise ConnectFailed(f"cannot resolve {host}: {error.strerror}") from None
        self._known[name] = (trio.current_time() + FRESH_SECONDS, found)
        return found


def look_up(host: str, port: int) -> list[Address]:
    """getaddrinfo for stream sockets; blocks. Raises OSError."""
    return [
        (int(family), where)
        for family, _, _, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        if family in (socket.AF_INET, socket.AF_INET6)
    ]


class Dialer:
    """Opens links. `ssl_context` is for https origins that are verified; by default the system's trust store decides.

    The last TLS session of each origin is kept, so that the next connection resumes it.
    """

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self._resolver = Resolver()
        self._given_context = ssl_context
        self._sessions: dict[Origin, ssl.SSLSession] = {}

    @functools.cached_property
    def _verifying(self) -> ssl.SSLContext:
        return self._given_context or client_context(verify=True)

    @functools.cached_property
    def _trusting(self) -> ssl.SSLContext:
        return client_context(verify=False)

    async def dial(self, origin: Origin, within: float, offer: Sequence[str] = HTTP1) -> Link:
        """A link to `origin` `within` so many seconds, over TLS with one of the protocols on `offer` (ALPN).

        Raises ConnectTimeout, TLSFailed, ConnectFailed.
        """
        deadline = trio.current_time() + within
        with trio.move_on_at(deadline):
            sock = await self._connect(origin, deadline)
            if origin.scheme != "https":
                return Link(sock)
            return await self._secure(sock, origin, offer)
        raise ConnectTimeout(f"no connection to {origin.host} within {within:g} s")

    async def _secure(self, sock: socket.socket, origin: Origin, offer: Sequence[str]) -> TLSLink:
        context = self._verifying if origin.verify_tls else self._trusting
        context.set_alpn_protocols(list(offer))  # copied into the connection that is made from it

        def keep_session(session: ssl.SSLSession) -> None:
            self._sessions[origin] = session

        return await shake_hands(sock, context, origin.host, self._sessions.get(origin), keep_session)

    async def _connect(self, origin: Origin, deadline: float) -> socket.socket:
        addresses = literal(origin) or await self._resolver.resolve(origin.host, origin.port)
        reason = "no address"
        for i, (family, where) in enumerate(addresses):
            left = deadline - trio.current_time()
            share = left if i == len(addresses) - 1 else max(left / (len(addresses) - i), LEAST_SHARE)
            try:
                with trio.move_on_after(share):
                    return await connect(family, where)
                reason = "timed out"
            except OSError as error:
                reason = error.strerror or "connection failed"
        raise ConnectFailed(f"cannot connect to {origin.host}: {reason}")


def literal(origin: Origin) -> list[Address]:
    """The one address of an origin whose host needs no look-up."""
    if origin.is_unix:
        return [(socket.AF_UNIX, origin.host)]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, origin.host)
        except OSError:
            continue
        return [(family, (origin.host, origin.port))]
    return []


async def connect(family: int, where: Any) -> socket.socket:
    """A connected non-blocking socket. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(where)
        if code == errno.EINPROGRESS:
            await wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        close(sock)
        raise
    return sock


def client_context(*, verify: bool) -> ssl.SSLContext:
    """TLS 1.2 and up with the system's trust store; without `verify`, anybody who answers is taken for the origin."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def shake_hands(
    sock: socket.socket,
    context: ssl.SSLContext,
    host: str,
    session: ssl.SSLSession | None = None,
    keep_session: Callable[[ssl.SSLSession], None] | None = None,
) -> TLSLink:
    """TLS over a connected socket, with `host` as SNI and as the name that the certificate must have."""
    try:
        tls = context.wrap_socket(
            sock, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False, session=session
        )
    except BaseException:
        close(sock)
        raise
    try:
        await handshake(tls)
        return TLSLink(tls, keep_session)
    except ssl.SSLCertVerificationError as error:
        close(tls)
        raise TLSFailed(f"certificate of {host}: {error.verify_message}") from None
    except OSError as error:
        close(tls)
        raise TLSFailed(f"TLS handshake with {host}: {error.strerror or type(error).__name__}") from None
    except BaseException:
        close(tls)
        raise


def close(sock: socket.socket) -> None:
    """Close a socket that trio may know."""
    if sock.fileno() >= 0:
        trio.lowlevel.notify_closing(sock)
        sock.close()
