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
from typing import Any, NamedTuple

import trio
from trio.lowlevel import wait_readable, wait_writable

from .errors import ConnectFailed, ConnectTimeout, TLSFailed
from .link import Link
from .tls import TLSLink

FRESH_SECONDS = 30.0
STALE_SECONDS = 60.0
LEAST_SHARE = 0.25

Address = tuple[int, Any]
"""(address family, what `connect` takes)."""


class Origin(NamedTuple):
    """Where a request goes: `http` or `https`, a host name or address, a port; a host that is a path names a unix
    socket (its port is 0)."""

    scheme: str
    host: str
    port: int

    @property
    def is_unix(self) -> bool:
        return self.host.startswith("/")

    @property
    def authority(self) -> bytes:
        """The value of Host: without the scheme's own port; `localhost` for a unix socket."""
        if self.is_unix:
            return b"localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return (host if self.port == usual else f"{host}:{self.port}").encode("ascii")


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
    """Opens links. `ssl_context` is for https origins; by default the system's trust store decides."""

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self._resolver = Resolver()
        self._given_context = ssl_context

    @functools.cached_property
    def _context(self) -> ssl.SSLContext:
        if self._given_context is not None:
            return self._given_context
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def dial(self, origin: Origin, within: float) -> Link:
        """A link to `origin` `within` so many seconds. Raises ConnectTimeout, TLSFailed, ConnectFailed."""
        deadline = trio.current_time() + within
        with trio.move_on_at(deadline):
            sock = await self._connect(origin, deadline)
            if origin.scheme != "https":
                return Link(sock)
            return await shake_hands(sock, self._context, origin.host)
        raise ConnectTimeout(f"no connection to {origin.host} within {within:g} s")

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


async def shake_hands(sock: socket.socket, context: ssl.SSLContext, host: str) -> TLSLink:
    """TLS over a connected socket, with `host` as SNI and as the name that the certificate must have."""
    try:
        tls = context.wrap_socket(
            sock, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
    except BaseException:
        close(sock)
        raise
    try:
        while True:
            try:
                tls.do_handshake()
                return TLSLink(tls)
            except ssl.SSLWantReadError:
                await wait_readable(tls)
            except ssl.SSLWantWriteError:
                await wait_writable(tls)
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
