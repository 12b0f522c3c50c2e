"""An HTTP/2 upstream on loopback that does exactly what a script says, connection by connection, in clear."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from fastanchor.wire import Origin
from tests.kit.h2_frames import ACK, HEADERS, PREFACE, SETTINGS, Frame, block, frame, settings, split

OK = ((b":status", b"200"),)
OPEN, WHOLE = 0x4, 0x5


class Peer:
    """The server's end of one connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._raw = b""
        self._preface = True

    async def send(self, *frames: bytes) -> None:
        await self._stream.send_all(b"".join(frames))

    async def answer(self, stream: int, body: bytes = b"", *fields: tuple[bytes, bytes]) -> None:
        """A whole answer."""
        head = frame(HEADERS, OPEN if body else WHOLE, stream, block((*OK, *fields)))
        await self.send(head, *([frame(0, 1, stream, body)] if body else []))

    async def next(self) -> Frame:
        """The next frame. Raises trio.EndOfChannel at the end."""
        if self._preface:
            while len(self._raw) < len(PREFACE):
                await self._receive()
            assert self._raw.startswith(PREFACE)
            self._raw = self._raw[len(PREFACE) :]
            self._preface = False
        while not (frames := list(split(self._raw))):
            await self._receive()
        self._raw = self._raw[9 + len(frames[0].payload) :]
        return frames[0]

    async def until(self, kind: int) -> Frame:
        """The next frame of one kind; SETTINGS are acknowledged on the way."""
        while (one := await self.next()).kind != kind:
            if one.kind == SETTINGS and not one.flags & ACK:
                await self.send(frame(SETTINGS, ACK))
        return one

    async def request(self) -> int:
        """The stream of the next request."""
        return (await self.until(HEADERS)).stream

    async def _receive(self) -> None:
        more = await self._stream.receive_some(65536)
        if not more:
            raise trio.EndOfChannel
        self._raw += more


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class H2Upstream:
    origin: Origin
    connections: int = 0
    ended: list[BaseException | None] = field(default_factory=list)


@asynccontextmanager
async def h2_upstream(*scripts: Script, greet: bytes = settings()) -> AsyncIterator[H2Upstream]:
    """The nth connection runs the nth script; further ones run the last again. It is closed when the script ends."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    up = H2Upstream(Origin("http", "127.0.0.1", listeners[0].socket.getsockname()[1], "on"))

    async def one(stream: trio.SocketStream) -> None:
        script = scripts[min(up.connections, len(scripts) - 1)]
        up.connections += 1
        async with stream:
            try:
                await stream.send_all(greet)
                await script(Peer(stream))
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
                return  # the client under test may hang up at any point

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, one, listeners)
        yield up
        nursery.cancel_scope.cancel()
