"""A link over TLS: the same calls on a non-blocking `ssl.SSLSocket`.

OpenSSL reads whole records straight from the socket, and `READ_SIZE` is larger than a record, so nothing decrypted
stays behind a receive: while the socket is silent there is nothing to be had. The end of the stream is clean only with
close_notify: a bare FIN is an OSError (`ssl.SSLEOFError`), since anybody on the path can send one.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
from collections.abc import Callable

import trio
from trio.lowlevel import wait_readable, wait_writable

from .link import READ_SIZE, Link

RECORD = 16 * 1024
IN_A_ROW = 8


async def handshake(tls: ssl.SSLSocket) -> None:
    """The TLS handshake of a wrapped non-blocking socket. Raises OSError (`ssl.SSLError` among them)."""
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await wait_readable(tls)
        except ssl.SSLWantWriteError:
            await wait_writable(tls)
        else:
            return


class TLSLink(Link):
    """A link whose handshake is done.

    Args:
        keep_session: given the session once, when the peer has sent enough to resume it.
    """

    __slots__ = ("_keep_session", "_row")

    sock: ssl.SSLSocket

    def __init__(self, sock: ssl.SSLSocket, keep_session: Callable[[ssl.SSLSession], None] | None = None) -> None:
        super().__init__(sock)
        self._keep_session = keep_session
        self._row = 0  # receives without a wait between them

    async def recv(self) -> bytes:
        while True:
            if self.handle.silent():
                self._row = 0
                await self.readable()
            elif self._row == IN_A_ROW:  # a sender that is faster than we are does not hold the loop
                self._row = 0
                await trio.lowlevel.checkpoint()
            self._row += 1
            try:
                data = self.sock.recv(READ_SIZE)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLWantWriteError:
                await self.writable()
                continue
            if self._keep_session is not None:  # TLS 1.3 sends tickets behind the handshake
                self._hand_out_session()
            return data

    def _hand_out_session(self) -> None:
        keep, self._keep_session = self._keep_session, None
        session = self.sock.session
        if keep is not None and session is not None:
            keep(session)

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self.sock.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0

    async def send(self, data: bytes, stall: float | None = None) -> None:
        await self._send_rest(memoryview(data), stall)

    async def send_both(self, head: bytes, body: bytes, stall: float | None = None) -> None:
        first = body[: RECORD - len(head)] if len(head) < RECORD else b""
        await self._send_rest(memoryview(head + first), stall)
        await self._send_rest(memoryview(body)[len(first) :], stall)

    async def _send_rest(self, rest: memoryview, stall: float | None) -> None:
        while rest:
            try:
                rest = rest[self.sock.send(rest) :]
            except ssl.SSLWantWriteError:
                if stall is not None:
                    self.deadline = self.now() + stall
                await self.writable()
            except ssl.SSLWantReadError:
                await self.readable()
        if stall is not None:
            self.deadline = math.inf

    def end(self) -> None:
        self._notify()
        socket.socket.shutdown(self.sock, socket.SHUT_WR)  # SSLSocket's own would drop the TLS layer

    def close(self) -> None:
        if not self.closed:
            self._notify()
            super().close()

    def _close_abruptly(self) -> None:
        super().close()

    def _notify(self) -> None:
        """close_notify, if the kernel takes it now; the peer's own is not waited for."""
        with contextlib.suppress(OSError, ValueError):
            self.sock.unwrap()
