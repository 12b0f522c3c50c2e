"""One non-blocking socket with a deadline: the only place where bytes are received and sent.

Sending is tried at once and waits only when the kernel's buffer is full. Receiving waits unless the reactor has seen
that something is there, and now and then in any case, so that a fast sender does not hold the loop. `deadline` bounds
every wait; the sweeper fires it. One task receives on a link at a time, and one sends.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
from collections.abc import Awaitable, Callable

import trio
from outcome import Error
from trio.lowlevel import Abort, RaiseCancelT, current_clock, current_task, reschedule, wait_task_rescheduled

from .reactor import reactor
from .sweep import sweeper

READ_SIZE = 64 * 1024  # of what `ssl` reads; the reactor reads as much
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class DeadlinePassed(Exception):
    """A wait outlasted the link's deadline; the socket itself is still usable."""


BROKEN = (OSError, DeadlinePassed, trio.ClosedResourceError)
"""What a link raises when it, or the peer's patience, has come to an end."""


class Link:
    """A connected plain socket. OSErrors of the socket come through as they are."""

    __slots__ = ("closed", "deadline", "fd", "handle", "now", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.handle = reactor().add(self.fd)
        self.now = current_clock().current_time
        """What time it is on the clock of `deadline`; cheaper than to ask trio."""
        self.deadline = math.inf
        self.closed = False
        sweeper().add(self)

    def recv(self) -> Awaitable[bytes]:
        """The next bytes, b"" at the end of the stream. Raises DeadlinePassed."""
        return self.handle

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes of `data` the kernel takes at once. Over TLS a call that took none is repeated with the same
        bytes, or with more behind them."""
        return self.handle.send(data)

    async def send(self, data: bytes, stall: float | None = None) -> None:
        """All of `data`. With `stall` the deadline is so many seconds from the last progress. Raises DeadlinePassed."""
        sent = self.handle.send(data)
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:], stall)

    async def send_both(self, head: bytes, body: bytes, stall: float | None = None) -> None:
        """`head` and `body` as one send, without joining them."""
        sent = self.handle.send_both(head, body)
        if sent < len(head) + len(body):
            if sent < len(head):
                await self._send_rest(memoryview(head)[sent:], stall)
                sent = len(head)
            await self._send_rest(memoryview(body)[sent - len(head) :], stall)

    async def _send_rest(self, rest: memoryview, stall: float | None) -> None:
        """The kernel calls a socket writable only when a good part of its buffer is free, so a peer that reads slowly
        may have made room without a wake-up: nobody has stalled before one more send has failed."""
        while rest:
            if stall is not None:
                self.deadline = self.now() + stall
            woken = None
            try:
                await self.writable()
            except DeadlinePassed as passed:
                woken = passed
            sent = self.handle.send(rest)
            if not sent and woken is not None:
                raise woken
            rest = rest[sent:]
        if stall is not None:
            self.deadline = math.inf

    async def readable(self) -> None:
        """Until an event says that something can be received. Raises DeadlinePassed."""
        handle = self.handle
        if self.closed:
            raise closed_by_us()
        if handle.reader is not None:
            raise trio.BusyResourceError("another task is receiving")

        def give_up(_: RaiseCancelT) -> Abort:
            handle.reader = None
            return Abort.SUCCEEDED

        handle.reader = current_task()
        await wait_task_rescheduled(give_up)

    async def writable(self) -> None:
        """Until an event says that something can be sent, after a send that could not. Raises DeadlinePassed."""
        handle = self.handle
        if self.closed:
            raise closed_by_us()
        if handle.writer is not None:
            raise trio.BusyResourceError("another task is sending")

        def give_up(_: RaiseCancelT) -> Abort:
            handle.writer = None
            return Abort.SUCCEEDED

        handle.writer = current_task()
        await wait_task_rescheduled(give_up)

    def _wake(self, error: Callable[[], Exception]) -> None:
        """Raise `error` in whoever waits."""
        handle = self.handle
        for task in (handle.reader, handle.writer):
            if task is not None:
                reschedule(task, Error(error()))
        handle.reader = handle.writer = None
        trio.lowlevel.notify_closing(self.fd)  # somebody may wait with trio's own means

    def expire(self) -> None:
        """Wake whoever waits on this link; called by the sweeper.

        Somebody whom bytes have just woken does not wait. The deadline then stands for the next sweep: a peer that
        trickles gets no more time by the luck of one byte.
        """
        if self.handle.reader is not None or self.handle.writer is not None:
            self.deadline = math.inf
            self._wake(DeadlinePassed)

    def end(self) -> None:
        """Say that nothing more is sent; what comes can still be read. Raises OSError."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close at once; what was sent is still delivered. A second call does nothing."""
        if not self.closed:
            self.closed = True
            sweeper().discard(self)
            self._wake(closed_by_us)
            self.handle.forget()
            self.sock.close()

    def reset(self) -> None:
        """Close with RST: the peer cannot take the end of the stream for a clean one. Unsent bytes are lost."""
        if not self.closed:
            with contextlib.suppress(OSError):  # not a TCP socket
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self._close_abruptly()

    def _close_abruptly(self) -> None:
        self.close()


def closed_by_us() -> trio.ClosedResourceError:
    return trio.ClosedResourceError("closed by us")
