"""Listening sockets and the accept loop: one task per connection, bounded in number, in all and per address.

Accepting takes what is there and then lets the connections run. A process that has run out of descriptors keeps
serving those it has, answers 503 to whoever else comes, and says so in its log once a second at most.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from typing import NamedTuple

import trio

from .crowd import Crowd, origin
from .front import serve_socket
from .hits import hit
from .limits import DEFAULT_LIMITS, ServerLimits
from .message import ErrorShape, Handler, plain_error
from .reserve import REFUSAL, Reserve, turn_away
from .server_h1 import Drain
from .tls_server import ServerTLS

logger = logging.getLogger(__name__)

SHED_PER_PASS = 64
MAX_UNSENT = 128 * 1024
"""Bytes of an answer that the kernel takes beyond what is on its way to the client: a slow one costs no more memory."""
EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
GONE_ALREADY = frozenset((errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR))
EXHAUSTED_PAUSE = 0.1
EXHAUSTED_LOG_EVERY = 1.0
PRESSED_SHARE = 0.15
"""Of the places, free: from here on idle connections are kept for `pressed_idle` only …"""
PRESS_EVERY = 1.0
"""… which they are told so often, in seconds."""


def bind(address: str, *, backlog: int = 1024) -> socket.socket:
    """A listening socket at `host:port`, `[v6]:port` or `unix:/path`. Raises OSError, and ValueError for the address.

    A unix socket that nobody listens on any more is replaced; anything else at that path is an error.
    """
    if address.startswith("unix:"):
        return _bind_unix(address.removeprefix("unix:"), backlog)
    host, port = split_address(address)
    family, kind, proto, _, where = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of `host:port` or `[v6]:port`. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address needs brackets: {address!r}")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"expected host:port, [ipv6]:port or unix:/path, got {address!r}")
    return host, int(port)


def _bind_unix(path: str, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _remove_stale(path)
        sock.bind(path)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return  # bind will refuse it
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            if probe.connect_ex(path) == errno.ECONNREFUSED:
                os.unlink(path)


async def serve(
    listener: socket.socket,
    handler: Handler,
    *,
    limits: ServerLimits = DEFAULT_LIMITS,
    on_error: ErrorShape = plain_error,
    secure: bool = False,
    drain: Drain | None = None,
    tls: ServerTLS | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept and serve until cancelled, or until `drain` is started and the last connection has ended.

    `tls` puts TLS on every connection; `secure` says that it ended before us. The listener stays open: it belongs to
    the caller.
    """
    drain = Drain() if drain is None else drain
    loop = _AcceptLoop(listener, limits, REFUSAL if tls is None else b"", drain)

    async def one(guest: _Guest) -> None:
        sock, peer, _ = guest
        try:
            await serve_socket(
                sock, handler, limits, peer=peer, secure=secure, on_error=on_error, drain=drain, tls=tls
            )
        except Exception:  # a bug of ours costs its connection, not the process
            logger.exception("connection of %s failed", peer)
        finally:
            loop.ended(guest)

    with contextlib.closing(loop.reserve):
        async with trio.open_nursery() as nursery:
            task_status.started()
            with drain.accepting:
                while True:
                    for guest in await loop.accepted():
                        nursery.start_soon(one, guest, name="wire.connection")


class _Guest(NamedTuple):
    """A connection that was let in; `who` is whom the crowd counts it for."""

    sock: socket.socket
    peer: str
    who: bytes


class _AcceptLoop:
    """Accepts for one listener, and counts its connections."""

    def __init__(self, listener: socket.socket, limits: ServerLimits, refusal: bytes, drain: Drain) -> None:
        listener.setblocking(False)
        self.reserve = Reserve()
        self._listener = listener
        self._refusal = refusal
        self._room = limits.connections
        self._few = int(limits.connections * PRESSED_SHARE)
        self._pressed_idle = limits.pressed_idle
        self._pressed = -PRESS_EVERY
        self._drain = drain
        self._occupancy = drain.occupancy
        self._crowd = Crowd(limits.connections_per_address, limits.connections_per_address_per_second)
        self._loopback_exempt = limits.loopback_exempt
        self._free = trio.Event()
        self._logged = -EXHAUSTED_LOG_EVERY

    def ended(self, guest: _Guest) -> None:
        """A connection is over."""
        self._crowd.leave(guest.who)
        self._room += 1
        self._occupancy.opened(-1)
        self._free.set()

    async def accepted(self) -> list[_Guest]:
        """At least one new connection; waits while there is no room for it."""
        while True:
            if self._room <= 0:
                hit("connections")
            while self._room <= 0:
                self._free = trio.Event()
                with trio.move_on_after(PRESS_EVERY):
                    await self._free.wait()
                self._press()
            taken, exhausted = self._take(await self._occupancy.turn(self._listener))
            self._room -= len(taken)
            self._occupancy.opened(len(taken))
            if exhausted is not None or self._room <= self._few:
                self._press()
            if exhausted is not None:
                self._complain(exhausted)
                if not self._shed() and not taken:
                    await trio.sleep(EXHAUSTED_PAUSE)
            if taken:
                return taken

    def _press(self) -> None:
        """Few places are left: those who only keep one may keep it for a shorter time."""
        now = trio.current_time()
        if now - self._pressed >= PRESS_EVERY:
            self._pressed = now
            self._drain.hurry(self._pressed_idle)

    def _take(self, most: int) -> tuple[list[_Guest], OSError | None]:
        taken: list[_Guest] = []
        now = trio.current_time()
        for _ in range(min(most, self._room)):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in GONE_ALREADY:
                    continue
                if error.errno in EXHAUSTED:
                    return taken, error
                raise
            guest = self._welcome(sock, address, now)
            if guest is not None:
                taken.append(guest)
        return taken, None

    def _welcome(self, sock: socket.socket, address: object, now: float) -> _Guest | None:
        """None for one too many from its address, who is gone by then."""
        who = b""
        if isinstance(address, tuple):
            who = origin(sock.family, address[0], loopback_exempt=self._loopback_exempt)
            if not self._crowd.enter(who, now):
                hit("connections_per_address")
                turn_away(sock)
                return None
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT)
        return _Guest(sock, peer_name(sock.family, address), who)

    def _shed(self) -> int:
        """Turn away those who wait, for want of descriptors; how many."""
        for count in range(SHED_PER_PASS):
            if not self.reserve.shed(self._listener, self._refusal):
                return count
            hit("descriptors")
        return SHED_PER_PASS

    def _complain(self, error: OSError) -> None:
        now = trio.current_time()
        if now - self._logged >= EXHAUSTED_LOG_EVERY:
            self._logged = now
            logger.error("cannot accept connections: %s", os.strerror(error.errno or 0))


def peer_name(family: int, address: object) -> str:
    """`1.2.3.4:5`, `[::1]:5` or `unix`."""
    if family == socket.AF_INET and isinstance(address, tuple):
        return f"{address[0]}:{address[1]}"
    if family == socket.AF_INET6 and isinstance(address, tuple):
        return f"[{address[0]}]:{address[1]}"
    return "unix"
