"""The server's side of a WebSocket: messages in, messages out, on a connection that HTTP/1.1 has handed over.

A read loop of our own over wsproto, and not trio-websocket, which is built on the same state machine but leaves out
what a server on the open net needs: it counts a text by its characters and empty fragments not at all, judges a frame
only when it is there, stops reading (and answering pings) while its one-message queue is full, has no keep-alive, and
its context manager can wait for ever on messages that nobody reads. It also wants a listener or a stream of its own,
where this gateway has one port for everything.

Rules:
- Whoever holds a `WebSocket` keeps calling `receive`: pings are answered and ends are noticed in there, and a holder
  that does not call it is back-pressure for its peer.
- Text only: a binary message is refused with 1003. No extension is negotiated.
- A bound that is passed ends the connection with its code (`limits.WSLimits`) and is counted (`hits`).
- Codes that we close with: 1000 (the holder is done), 1001 (idle, or the listener drains), 1002 and 1007 (protocol,
  UTF-8), 1003, 1008 and 1009 (bounds), 1011 (the holder failed); a holder has 4000-4999 for itself.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from .errors import ClientGone
from .hits import hit
from .link import DeadlinePassed
from .message import Reply, Request, Upgraded, Upgrading
from .server_h1 import Drain
from .sweep import sweeper
from .ws_frames import TEXT, frame
from .ws_handshake import VERSION, BadHandshake, accept
from .ws_session import Session

GOING_AWAY = 1001
UNSUPPORTED = 1003
INTERNAL_ERROR = 1011


class WebSocket:
    """One connection. `receive` is called by one task, `send` by any."""

    def __init__(self, upgraded: Upgraded, nursery: trio.Nursery) -> None:
        self.limits = upgraded.limits.ws
        self.busy = 0
        """How many answers are under way: as long as there are some, silence is no idleness."""
        self.gone = False
        """The peer has left, or was cut off: nothing can be sent any more."""
        self.leaving = False
        """The listener drains: no new message is received."""
        self._link = upgraded.link
        self._stall = upgraded.limits.write_stall
        self._nursery = nursery
        self._session = Session(self.limits)
        self._received = upgraded.received
        self._messages: deque[str | bytes] = deque()
        self._unsent = bytearray()
        self._sending = 0  # bytes that the writer is at
        self._room = trio.Event()
        self._receiving: trio.CancelScope | None = None
        self._heard = self._last_message = trio.current_time()
        self._asked = False  # a ping waits for a sign of life
        self._close_by = math.inf
        self.deadline = self._heard + self.limits.ping_every

    @property
    def close_code(self) -> int | None:
        """Why the connection ends or has ended, by the code that was sent or received first."""
        return self._session.close_code

    async def receive(self) -> str | None:
        """The next text; None when there are no more: the peer closed or left, or the listener drains."""
        if self._messages:
            await trio.lowlevel.checkpoint()  # nobody has waited: let others run
        while not self._messages:
            if self._session.closing or self.gone or self.leaving or not await self._read():
                return None
        message = self._messages.popleft()
        if isinstance(message, str):
            self._last_message = trio.current_time()
            return message
        self.close(UNSUPPORTED, "only text messages are taken")
        return None

    async def send(self, text: bytes) -> None:
        """A text message, in UTF-8; waits while too much is unsent. Raises ClientGone."""
        if self.gone or self._session.closing:
            raise ClientGone("the WebSocket is closed")
        self._last_message = trio.current_time()
        self._put(frame(TEXT, text))
        if self._sending + len(self._unsent) > self.limits.unsent:
            hit("ws_unsent")
        while self._sending + len(self._unsent) > self.limits.unsent:
            await self._room.wait()
            if self.gone:
                raise ClientGone("the client reset the connection, or does not read")

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake; a second call does nothing. The reason is at most 123 bytes."""
        self._session.close(code, reason)
        self._flush()

    def end_if_idle(self) -> None:
        """The listener drains: what is under way goes on, what is not begun does not begin."""
        self.leaving = True
        if self._receiving is not None:
            self._receiving.cancel()

    def hurry(self, seconds: float) -> None:
        """A WebSocket waits for no next request: its own bounds hold."""

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _read(self) -> bool:
        """More bytes; False when there are no more, or the wait was given up."""
        data, self._received = self._received, b""
        if not data:
            with trio.CancelScope() as self._receiving:
                data = await self._recv()
            waiting, self._receiving = self._receiving, None
            if waiting.cancelled_caught:
                return False
        if not data:
            self._lost()
            return False
        self._heard = trio.current_time()
        self._asked = False
        self._messages += self._session.feed(data, self._heard)
        if self._session.excess is not None:
            hit(self._session.excess.bound)
        self._flush()
        return True

    async def _recv(self) -> bytes:
        try:
            return await self._link.recv()
        except (OSError, DeadlinePassed, trio.ClosedResourceError):
            return b""

    def expire(self) -> None:
        """Called by the sweeper: somebody has to show a sign of life, or has shown none."""
        now = trio.current_time()
        limits = self.limits
        if now >= self._close_by or (self._asked and now >= self._heard + limits.ping_every + limits.pong_within):
            hit("ws_close" if now >= self._close_by else "ws_pong")
            self._lost()
            self._link.reset()
        elif not self.busy and now >= self._last_message + limits.idle:
            hit("ws_idle")
            self.close(GOING_AWAY, "idle")
            if self._receiving is not None:
                self._receiving.cancel()
        elif not self._asked and now >= self._heard + limits.ping_every:
            self._asked = True
            self._session.ping()
            self._flush()
        self.deadline = now + min(limits.ping_every, limits.pong_within, limits.idle) / 4

    # -- writing ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """What the session has to say."""
        data = bytes(self._session.out)
        self._session.out.clear()
        if data:
            self._put(data)

    def _put(self, data: bytes) -> None:
        """Give it to the socket, or to the writer behind what it is at."""
        if self.gone:
            return
        if self._sending or self._unsent:
            self._unsent += data
            return
        try:
            sent = self._link.send_now(data)
        except (OSError, trio.ClosedResourceError):
            self._lost()
            return
        if sent < len(data):
            self._unsent += data[sent:]
            self._nursery.start_soon(self._write, name="wire.ws_writer")

    async def _write(self) -> None:
        """Until everything is sent."""
        while self._unsent and not self.gone:
            data = bytes(self._unsent)
            self._unsent.clear()
            self._sending = len(data)
            try:
                await self._link.send(data, self._stall)
            except (OSError, DeadlinePassed, trio.ClosedResourceError):
                self._lost()
                self._link.reset()
            self._sending = 0
            self._wake()

    def _wake(self) -> None:
        room, self._room = self._room, trio.Event()
        room.set()

    def _lost(self) -> None:
        self.gone = True
        self._unsent.clear()
        self._wake()

    # -- the end ------------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Both halves of the closing handshake, within `limits.close`."""
        self.close(GOING_AWAY if self.leaving else 1000)
        self._close_by = self.deadline = trio.current_time() + self.limits.close
        while not (self.gone or self._session.peer_closed):
            await self._read()
        while self._sending + len(self._unsent) and not self.gone:
            await self._room.wait()


@asynccontextmanager
async def websocket(request: Request, reply: Reply) -> AsyncIterator[WebSocket]:
    """Accept the handshake; the connection is the block's, and is closed behind it.

    Raises:
        BadHandshake: before anything was answered.
        ClientGone: the client left during the handshake.
    """
    if not isinstance(reply, Upgrading):
        raise BadHandshake(426, "WebSocket connections are taken over HTTP/1.1", (VERSION,))
    upgraded = await reply.upgrade(b"websocket", accept(request))
    async with trio.open_nursery() as nursery:
        socket = WebSocket(upgraded, nursery)
        with _known(socket, upgraded.drain):
            try:
                yield socket
            except Exception:
                socket.close(INTERNAL_ERROR)
                await socket.finish()
                raise
            await socket.finish()
        nursery.cancel_scope.cancel()


@contextmanager
def _known(socket: WebSocket, drain: Drain | None) -> Iterator[None]:
    """Within, the sweeper looks after the socket, and its listener's drain knows it."""
    sweeper().add(socket)
    if drain is not None:
        drain.connections.add(socket)
        if drain.started:
            socket.end_if_idle()
    try:
        yield
    finally:
        sweeper().discard(socket)
        if drain is not None:
            drain.connections.discard(socket)


__all__ = ["BadHandshake", "WebSocket", "websocket"]
