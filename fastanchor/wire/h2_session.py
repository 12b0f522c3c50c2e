"""What both ends of an HTTP/2 connection have in common: one reader, bytes out, flow control.

One task reads and hands each frame to h2; whoever has something to say gives it to h2 and flushes: what the kernel does
not take at once waits in `unsent`, for the one task that writes it. Received bytes are acknowledged on the connection
as they come and on their stream as they are read, so that a stream nobody reads holds up itself only, and holds no
more than its window. Sending waits, per stream, for the peer's windows and for the socket.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import h2.events
import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from . import h2_frames as frames
from .h2_frames import Frame, Scanner
from .h2_state import Connection
from .link import Link
from .waiter import Waiter

BACKLOG = 128 * 1024
"""Bytes unsent above which no more DATA is framed."""
AT_ONCE = 64 * 1024
"""Bytes that one stream frames before others have their turn."""
FRAMES_AT_ONCE = 4
"""Received frames that are dealt with before other connections have their turn."""


class Stream(Protocol):
    """A stream, as its session sees it."""

    @property
    def id(self) -> int: ...

    @property
    def sending(self) -> Waiter:
        """Sleeps while the stream has something to send and may not."""


S = TypeVar("S", bound=Stream)


class Session(Generic[S]):
    """One connection. Subclasses know what a stream is, and what events mean."""

    def __init__(
        self, link: Link, h2_connection: Connection, scanner: Scanner, stream_window: int, window: int
    ) -> None:
        self.link = link
        self.h2 = h2_connection
        self.scanner = scanner
        self.streams: dict[int, S] = {}
        self.unsent = bytearray()
        self.progress = 0.0
        """When the socket last took a part of what is unsent."""
        self._stream_window = stream_window
        self._window = window
        self._unacknowledged = 0
        self._writer = Waiter()
        self._all_sent = Waiter()

    # -- bytes out ----------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Our SETTINGS, and the connection's window."""
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(self._window - 65_535)

    def flush(self) -> None:
        """Give the socket what h2 has to say; it takes it now, or the writer sees to it."""
        data = self.h2.data_to_send()
        if data:
            self.put(data)

    def put(self, data: bytes) -> None:
        """As `flush`, for bytes that h2 does not know of."""
        if self.link.closed:
            return
        if self.unsent:
            self.unsent += data
            return
        try:
            sent = self.link.send_now(data)
        except OSError:
            self.link.close()  # wakes the reader, who ends everything
            return
        if sent < len(data):
            self.unsent += data[sent:]
            self.progress = trio.current_time()
            self._writer.wake()

    async def write(self) -> None:
        """The writer: runs as long as the connection, works while something is unsent."""
        try:
            while True:
                while not self.unsent:
                    await self._writer.sleep()
                await trio.lowlevel.wait_writable(self.link.fd)
                if sent := self.link.send_now(self.unsent):
                    self.progress = trio.current_time()
                    del self.unsent[:sent]
                    if len(self.unsent) < BACKLOG:
                        self.wake_senders()
                if not self.unsent:
                    self._all_sent.wake()
        except (OSError, trio.ClosedResourceError):
            self.link.close()

    async def sent(self, within: float) -> None:
        """Until nothing is unsent. Raises DeadlinePassed."""
        if self.unsent:
            await self._all_sent.sleep(within)

    # -- sending with flow control ------------------------------------------------------------------------------------

    def frame_body(self, stream: Stream, rest: memoryview, *, end: bool) -> memoryview:
        """Frame as much of `rest` as may go now, and send it. Returns what is left."""
        room = AT_ONCE
        while rest and room > 0 and len(self.unsent) < BACKLOG:
            size = min(len(rest), self.h2.local_flow_control_window(stream.id), frames.MAX_FRAME)
            if size <= 0:
                break
            if end and size == len(rest):
                self.h2.send_data(stream.id, rest, end_stream=True)
            else:
                self.h2.send_piece(stream.id, rest[:size])
            self.data_sent()
            rest = rest[size:]
            room -= size
        self.flush()
        return rest

    def may_send(self, stream: Stream) -> bool:
        """Whether a byte of DATA could go now."""
        return len(self.unsent) < BACKLOG and self.h2.local_flow_control_window(stream.id) > 0

    def data_sent(self) -> None:
        """A DATA frame has been framed."""

    def wake_senders(self) -> None:
        for stream in self.streams.values():
            stream.sending.wake()

    # -- receiving ----------------------------------------------------------------------------------------------------

    async def read(self, received: bytes = b"") -> None:
        """The reader: returns at the end of the stream. Raises Hostile, h2's ProtocolError, and what sockets raise."""
        while True:
            data = received or await self.link.recv()
            received = b""
            if not data:
                return
            try:
                for i, frame in enumerate(self.cut(data), 1):
                    self.take(frame)
                    if i % FRAMES_AT_ONCE == 0:
                        self.flush()
                        await trio.lowlevel.checkpoint()
            finally:
                self.flush()

    def cut(self, data: bytes) -> Iterator[Frame]:
        return self.scanner.feed(data)

    def take(self, frame: Frame) -> None:
        """One frame, in order."""
        size = len(frame.raw) - frames.HEADER
        plain = frame.kind == frames.DATA and not frame.flags and not self.scanner.in_block
        if plain and self.h2.receive_piece(frame.stream_id, size):
            self.received(size)
            self.arrived(frame.stream_id, frame.raw[frames.HEADER :], 0)
            return
        for event in self.h2.receive_data(frame.raw):
            if isinstance(event, h2.events.WindowUpdated):
                self._window_opened(event.stream_id or 0)
            elif isinstance(event, h2.events.DataReceived):
                size = event.flow_controlled_length
                self.received(size)
                self.arrived(event.stream_id, event.data, size - len(event.data))
            elif isinstance(event, h2.events.RemoteSettingsChanged):
                self.wake_senders()
                self.happened(event)
            else:
                self.happened(event)

    def happened(self, event: h2.events.Event) -> None:
        """An event of h2's; not a window's, and not DATA."""
        raise NotImplementedError

    def arrived(self, stream_id: int, data: bytes, padding: int) -> None:
        """DATA has come, and is accounted for on the connection."""
        raise NotImplementedError

    def _window_opened(self, stream_id: int) -> None:
        if stream_id == 0:
            self.wake_senders()
        elif (stream := self.streams.get(stream_id)) is not None:
            stream.sending.wake()

    def received(self, size: int) -> None:
        """Flow-controlled bytes have come: the connection's window is opened again by and by."""
        self._unacknowledged += size
        if self._unacknowledged >= self._window // 2:
            self.h2.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0

    def consumed(self, stream_id: int, size: int) -> int:
        """`size` bytes of a stream have been read and not acknowledged; returns how many still are not."""
        if size < self._stream_window // 2:
            return size
        with contextlib.suppress(ProtocolError, KeyError):  # reset meanwhile, and perhaps forgotten
            self.h2.increment_flow_control_window(size, stream_id)
        self.flush()
        return 0

    # -- endings ------------------------------------------------------------------------------------------------------

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """RST_STREAM, unless the stream has ended on both sides."""
        with contextlib.suppress(ProtocolError):
            self.h2.reset_stream(stream_id, code)
        self.flush()
