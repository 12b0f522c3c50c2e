"""A link over TLS: the same calls on a non-blocking `ssl.SSLSocket`.

OpenSSL reads whole records straight from the socket, and `READ_SIZE` is larger than a record, so nothing decrypted
stays behind a receive and waiting for the socket is enough. The end of the stream is clean only with close_notify: a
bare FIN is an OSError (`ssl.SSLEOFError`), since anybody on the path can send one.
"""

from __future__ import annotations

import math
import ssl

import trio
from trio.lowlevel import wait_readable, wait_writable

from .link import READ_SIZE, Link

RECORD = 16 * 1024


class TLSLink(Link):
    """A link whose handshake is done."""

    __slots__ = ()

    sock: ssl.SSLSocket

    async def recv(self) -> bytes:
        while True:
            try:
                await wait_readable(self.fd)
                return self.sock.recv(READ_SIZE)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLWantWriteError:
                await wait_writable(self.fd)
            except trio.ClosedResourceError:
                raise self._woken() from None

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
                await self._wait_to_send(stall)
            except ssl.SSLWantReadError:
                await wait_readable(self.fd)
        if stall is not None:
            self.deadline = math.inf

    async def _wait_to_send(self, stall: float | None) -> None:
        if stall is not None:
            self.deadline = trio.current_time() + stall
        try:
            await wait_writable(self.fd)
        except trio.ClosedResourceError:
            raise self._woken() from None
