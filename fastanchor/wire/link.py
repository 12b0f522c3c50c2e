"""One non-blocking socket with a deadline: the only place where bytes are received and sent.

Sending is tried at once and waits only when the kernel's buffer is full. Receiving waits first: what would be there
already is rare (a request follows its answer's journey), and the wait is the checkpoint that keeps a fast sender from
holding the loop. `deadline` bounds every wait; the sweeper fires it. One task uses a link at a time.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct

import trio
from trio.lowlevel import wait_readable, wait_writable

from .sweep import sweeper

READ_SIZE = 64 * 1024
JOIN_BELOW = 64 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class DeadlinePassed(Exception):
    """A wait outlasted the link's deadline; the socket itself is still usable."""


class Link:
    """A connected plain socket. OSErrors of the socket come through as they are."""

    __slots__ = ("closed", "deadline", "fd", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.deadline = math.inf
        self.closed = False
        sweeper().add(self)

    async def recv(self) -> bytes:
        """The next bytes, b"" at the end of the stream. Raises DeadlinePassed."""
        while True:
            try:
                await wait_readable(self.fd)
                return self.sock.recv(READ_SIZE)
            except BlockingIOError:
                continue
            except trio.ClosedResourceError:
                raise self._woken() from None

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes of `data` the kernel takes at once. Over TLS a call that took none is repeated with the same
        bytes, or with more behind them."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    async def send(self, data: bytes, stall: float | None = None) -> None:
        """All of `data`. With `stall` the deadline is so many seconds from the last progress. Raises DeadlinePassed."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:], stall)

    async def send_both(self, head: bytes, body: bytes, stall: float | None = None) -> None:
        """`head` and `body` as one send, without joining what is large."""
        if len(body) < JOIN_BELOW:
            await self.send(head + body, stall)
            return
        try:
            sent = self.sock.sendmsg([head, body])
        except BlockingIOError:
            sent = 0
        if sent < len(head):
            await self._send_rest(memoryview(head)[sent:], stall)
            sent = len(head)
        await self._send_rest(memoryview(body)[sent - len(head) :], stall)

    async def _send_rest(self, rest: memoryview, stall: float | None) -> None:
        """The kernel calls a socket writable only when a good part of its buffer is free, so a peer that reads slowly
        may have made room without a wake-up: nobody has stalled before one more send has failed."""
        while rest:
            if stall is not None:
                self.deadline = trio.current_time() + stall
            woken = None
            try:
                await wait_writable(self.fd)
            except trio.ClosedResourceError:
                if self.closed:
                    raise
                woken = DeadlinePassed()
            try:
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                if woken is not None:
                    raise woken from None
        if stall is not None:
            self.deadline = math.inf

    def _woken(self) -> Exception:
        """Why a wait ended without its event: somebody closed the link, or the sweeper fired."""
        return trio.ClosedResourceError("closed by us") if self.closed else DeadlinePassed()

    def expire(self) -> None:
        """Wake whoever waits on this link; called by the sweeper."""
        self.deadline = math.inf
        if not self.closed:
            trio.lowlevel.notify_closing(self.fd)

    def end(self) -> None:
        """Say that nothing more is sent; what comes can still be read. Raises OSError."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close at once; what was sent is still delivered. A second call does nothing."""
        if not self.closed:
            self.closed = True
            sweeper().discard(self)
            trio.lowlevel.notify_closing(self.fd)
            self.sock.close()

    def reset(self) -> None:
        """Close with RST: the peer cannot take the end of the stream for a clean one. Unsent bytes are lost."""
        if not self.closed:
            with contextlib.suppress(OSError):  # not a TCP socket
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self._close_abruptly()

    def _close_abruptly(self) -> None:
        self.close()
