"""A server connection on one end of a socket pair, and a raw client on the other."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from fastanchor.wire import Handler, Reply, Request, ServerLimits, serve_connection

FINAL_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) ")


class RawClient:
    """Writes bytes, and reads what has come."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.received = b""
        self.ended = False

    async def write(self, data: bytes) -> None:
        """Send, and let the server do all it can."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.send(data)
        await wait_all_tasks_blocked()

    async def write_pieces(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            await self.write(piece)

    def read(self) -> bytes:
        """Everything received so far; `ended` is set when the server has closed its side."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while data := self.sock.recv(1 << 20):
                self.received += data
            self.ended = True
        return self.received

    def statuses(self) -> tuple[int, ...]:
        """The final statuses received so far, in order."""
        return tuple(int(digits) for digits in FINAL_STATUS.findall(self.read()))

    async def read_until(self, end: bytes) -> bytes:
        """What was received, once it contains `end`."""
        while end not in self.read():
            if self.ended:
                raise AssertionError(f"connection ended before {end!r}: {self.received!r}")
            await trio.lowlevel.wait_readable(self.sock)
        return self.received

    async def read_to_end(self) -> bytes:
        """What was received until the server closed; a reset counts as the end."""
        while not self.ended:
            await trio.lowlevel.wait_readable(self.sock)
            try:
                data = self.sock.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            self.received += data
            self.ended = not data
        return self.received


@asynccontextmanager
async def served(handler: Handler, limits: ServerLimits | None = None, **options: Any) -> AsyncIterator[RawClient]:
    """A raw client whose other end is served by `handler`."""
    ours, theirs = socket.socketpair()
    async with trio.open_nursery() as nursery:
        with ours:
            nursery.start_soon(lambda: serve_connection(theirs, handler, limits or ServerLimits(), **options))
            yield RawClient(ours)
        nursery.cancel_scope.cancel()


class Recorder:
    """A handler that answers 200 to everything, and keeps what it was asked."""

    def __init__(self, body: bytes = b"") -> None:
        self.requests: list[tuple[bytes, bytes, bytes]] = []
        self.body = body

    async def __call__(self, request: Request, reply: Reply) -> None:
        body = await request.body()
        self.requests.append((request.method, request.target, body))
        await reply.respond(200, [], self.body)


def cut(data: bytes, size: int) -> list[bytes]:
    """`data` in pieces of `size` bytes."""
    return [data[i : i + size] for i in range(0, len(data), size)]
