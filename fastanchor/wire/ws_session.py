"""The WebSocket protocol of one connection, on the server's side (RFC 6455 §5-7): bytes in, whole messages out.

wsproto is the state machine, a meter (`ws_frames`) stands before it. No extension is ever negotiated, so nothing is
inflated and a message is never larger than what was received for it. What is to be sent gathers in `out`.
"""

from __future__ import annotations

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

from .limits import WSLimits
from .ws_frames import Excess, Meter

MAX_REASON = 123
"""Bytes of a close frame's reason."""


class Session:
    """Sans-io. `out` is for the caller to send and to clear."""

    def __init__(self, limits: WSLimits) -> None:
        self.out = bytearray()
        self.excess: Excess | None = None
        """The bound that the peer has passed."""
        self.close_code: int | None = None
        """Why the connection ends: the code that was sent or received first; 1005 when the peer gave none."""
        self.peer_closed = False
        """The peer's close frame has come, or its bytes are broken: nothing more is read."""
        self._protocol = Connection(ConnectionType.SERVER)
        self._meter = Meter(limits)
        self._pieces: list[str] | list[bytes] = []

    @property
    def closing(self) -> bool:
        """A close frame has been sent or received: there are no more messages."""
        return self.close_code is not None

    def feed(self, data: bytes, now: float) -> list[str | bytes]:
        """The messages that are complete now."""
        if self.peer_closed:
            return []
        data, excess = self._meter.feed(data, now)
        self._protocol.receive_data(data)
        messages: list[str | bytes] = []
        for event in self._protocol.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                self._gather(event, messages)
            else:
                self._control(event)
        if excess is not None and not self.closing:
            self.excess = excess
            self.close(excess.code, excess.bound)
            self.peer_closed = True
        return messages

    def ping(self) -> None:
        """Ask whether the peer is there."""
        if not self.closing:
            self.out += self._protocol.send(Ping())

    def close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake; a second call does nothing."""
        if not self.closing:
            self.close_code = code
            text = reason.encode()[:MAX_REASON].decode(errors="ignore")
            self.out += self._protocol.send(CloseConnection(code, text))

    def _gather(self, event: TextMessage | BytesMessage, messages: list[str | bytes]) -> None:
        if self.closing:  # what comes behind our close frame is read by nobody
            return
        self._pieces.append(event.data)  # type: ignore[arg-type]  # pieces of one message are of one type
        if event.message_finished:
            pieces, self._pieces = self._pieces, []
            messages.append(pieces[0] if len(pieces) == 1 else type(event.data)().join(pieces))  # type: ignore[arg-type]

    def _control(self, event: Event) -> None:
        if isinstance(event, Ping):
            if not self.closing:
                self.out += self._protocol.send(event.response())
        elif isinstance(event, CloseConnection):
            self.peer_closed = True
            if self._protocol.state is ConnectionState.OPEN:  # no close frame, but wsproto's complaint
                self.close(event.code, event.reason or "")
            elif not self.closing:
                self.close_code = event.code
                self.out += self._protocol.send(event.response())
