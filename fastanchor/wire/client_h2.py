"""The client's side of one HTTP/2 connection: many requests out, their responses in (RFC 9113).

One task reads for all; each response has a buffer no larger than its stream's window, and whoever reads it opens that
window again. A response that is closed early ends its stream with RST_STREAM: the upstream stops, the connection stays.
A connection that says nothing while it owes an answer is asked with PING, and given up when it does not answer that.
"""

from __future__ import annotations

import math

import h2.events
import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from fastanchor._speedups.http1 import RESPONSE_LIMITS, BadMessage, Header

from . import h2_frames as frames
from . import h2_grammar as grammar
from .dial import Origin
from .errors import ResetBeforeResponse, ResponseTimeout, Truncated
from .h2_budget import Budget
from .h2_frames import Frame, Hostile, Scanner
from .h2_session import Session
from .h2_state import connection
from .hits import hit
from .limits import H2Limits
from .link import DeadlinePassed, Link
from .message import OWN_FIELDS, Headers
from .response_h2 import H2Response, NotProcessed
from .sweep import sweeper

STREAM_WINDOW = 256 * 1024
CONNECTION_WINDOW = 16 * 1024 * 1024
ASSUMED_STREAMS = 100
"""At one time, until the server's SETTINGS say otherwise (RFC 9113 §6.5.2 recommends no less)."""
MOST_STREAMS = 1000
"""At one time, whatever the server allows."""
LAST_ID = 2**30
"""Connections are replaced long before their stream ids run out."""
PING_AFTER = 20.0
PING_WITHIN = 10.0
CHECK_EVERY = 1.0
ALIVE = b"alive?\0\0"
BOUNDS = H2Limits(pings=500)
SETTINGS = {
    SettingCodes.ENABLE_PUSH: 0,
    SettingCodes.MAX_CONCURRENT_STREAMS: 0,
    SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
    SettingCodes.MAX_HEADER_LIST_SIZE: RESPONSE_LIMITS.head,
}


class H2Client(Session[H2Response]):
    """One connection to `origin`; `run` has to be running while it is used."""

    def __init__(self, origin: Origin, link: Link, idle_seconds: float) -> None:
        super().__init__(
            link,
            connection(client=True, settings=SETTINGS),
            Scanner(RESPONSE_LIMITS.head, BOUNDS.continuations),
            STREAM_WINDOW,
            CONNECTION_WINDOW,
        )
        self.origin = origin
        self.used = 0
        """Requests that were sent."""
        self.closing = False
        """No new requests: the server said so, or the connection is at its end."""
        self.heard = trio.current_time()
        """When the server last said something."""
        self.deadline = 0.0
        self.room_made = trio.lowlevel.ParkingLot()
        """Who waits for a place for another stream."""
        self._budget = Budget(BOUNDS)
        self._idle_seconds = idle_seconds
        self._idle_since = self.heard
        self._asked_alive = math.inf
        self._limit = ASSUMED_STREAMS
        self.greet()

    @property
    def room(self) -> int:
        """How many more streams may be opened."""
        return 0 if self.closing or self.link.closed else self._limit - len(self.streams)

    # -- requests -----------------------------------------------------------------------------------------------------

    async def request(
        self, method: bytes, target: bytes, headers: Headers, body: bytes, *, within: float | None
    ) -> H2Response:
        """Send a request, and return when the head of its response is there.

        Raises NotProcessed (send it elsewhere), ResetBeforeResponse, ResponseTimeout, Truncated, BadResponse.
        """
        fields = self._fields(method, target, headers, body)
        if self.room <= 0:
            raise NotProcessed("the connection has no room")
        stream = self._open(fields, method, ended=not body)
        deadline = math.inf if within is None else trio.current_time() + within
        try:
            await self._converse(stream, memoryview(body), deadline)
        except DeadlinePassed:
            stream.close()
            raise ResponseTimeout(f"no response head within {within:g} s") from None
        except BaseException:
            stream.close()
            raise
        return stream

    def _fields(self, method: bytes, target: bytes, headers: Headers, body: bytes) -> list[Header]:
        for name, _ in headers:
            if name in OWN_FIELDS:
                raise ValueError(f"{name.decode('ascii')} is written by the wire")
        own = [(b"content-length", b"%d" % len(body))] if body or method in (b"POST", b"PUT", b"PATCH") else []
        scheme = self.origin.scheme.encode("ascii")
        return grammar.request_fields(scheme, self.origin.authority, method, target, [*headers, *own])  # type: ignore[return-value]  # a HeaderTuple is a pair

    def _open(self, fields: list[Header], method: bytes, *, ended: bool) -> H2Response:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, fields, end_stream=ended)
        stream = H2Response(self, stream_id, reused=self.used > 0, for_head=method == b"HEAD", sent=ended)
        self.streams[stream_id] = stream
        self.used += 1
        if stream_id > LAST_ID:
            self.closing = True
        return stream

    async def _converse(self, stream: H2Response, rest: memoryview, deadline: float) -> None:
        """Send the body until the response's head is there: what is not wanted by then is not sent."""
        self.flush()
        while True:
            if rest:
                rest = self._send_some(stream, rest)
            stream.raise_early()
            if stream.status:
                return
            if rest and self.may_send(stream):
                await trio.lowlevel.checkpoint()
            else:
                await stream.sending.sleep(None if deadline == math.inf else max(0.0, deadline - trio.current_time()))

    def _send_some(self, stream: H2Response, rest: memoryview) -> memoryview:
        try:
            rest = self.frame_body(stream, rest, end=True)
        except ProtocolError:  # reset meanwhile: what the server has said about it is with the stream
            return memoryview(b"")
        stream.sent = not rest
        return rest

    # -- the connection -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read until the connection ends; every response that is not whole by then has failed."""
        sweeper().add(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.write, name="wire.h2_writer")
                await self._read_to_end()
                nursery.cancel_scope.cancel()
        finally:
            sweeper().discard(self)
            self.closing = True
            self.link.close()
            self.h2.ended()
            for stream in list(self.streams.values()):
                stream.fail(self._lost(stream))
            self.room_made.unpark_all()

    async def _read_to_end(self) -> None:
        try:
            await self.read()
        except Hostile as error:
            hit(f"upstream_{error.bound}")
            self.put(frames.goaway(0, error.code))
        except ProtocolError:
            hit("upstream_h2_protocol_error")
        except (OSError, DeadlinePassed, trio.ClosedResourceError):
            return

    def _lost(self, stream: H2Response) -> Exception:
        """What the end of the connection means for a stream. A connection that was in use before, and said nothing
        since the request went out, had been given up by the server before it came."""
        if stream.status:
            return Truncated("connection ended within the body")
        if stream.reused and self.heard < stream.began:
            return NotProcessed("connection ended before the request was seen")
        return ResetBeforeResponse("connection ended before the response")

    def take(self, frame: Frame) -> None:
        self.heard = trio.current_time()
        self._asked_alive = math.inf
        self._budget.frame(frame, self.heard, is_open=frame.stream_id in self.streams or self.scanner.in_block)
        if frame.kind == frames.GOAWAY and not frame.stream_id and len(frame.raw) >= frames.HEADER + 8:
            self._goaway(int.from_bytes(frame.raw[9:13], "big") & frames.LAST_STREAM)
            return
        super().take(frame)

    def data_sent(self) -> None:
        self._budget.data_sent()

    def happened(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self._head(event.stream_id, event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            self._interim(event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self._trailers(event.stream_id, event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            if (stream := self.streams.get(event.stream_id)) is not None:
                stream.ended()
        elif isinstance(event, h2.events.StreamReset):
            self._was_reset(event)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self._limit = min(self.h2.remote_settings.max_concurrent_streams, MOST_STREAMS)
            self.room_made.unpark_all()

    def arrived(self, stream_id: int, data: bytes, padding: int) -> None:
        if (stream := self.streams.get(stream_id)) is not None:
            stream.arrived(data, padding)

    def _head(self, stream_id: int, fields: list[Header]) -> None:
        self.h2.forget_length(stream_id)
        if (stream := self.streams.get(stream_id)) is None:
            return
        try:
            stream.began_answer(grammar.read_response(fields))
        except BadMessage as error:
            stream.malformed(error.reason)

    def _interim(self, stream_id: int) -> None:
        if (stream := self.streams.get(stream_id)) is not None:
            stream.interim_came()

    def _trailers(self, stream_id: int, fields: list[Header]) -> None:
        try:
            grammar.check_trailers(fields, RESPONSE_LIMITS)
        except BadMessage as error:
            if (stream := self.streams.get(stream_id)) is not None:
                stream.malformed(error.reason)

    def _was_reset(self, event: h2.events.StreamReset) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return
        if event.error_code == ErrorCodes.REFUSED_STREAM and not stream.status:
            stream.fail(NotProcessed("the server refused the stream"))
        elif stream.status:
            stream.fail(Truncated("the server reset the stream within the body"))
        else:
            stream.fail(ResetBeforeResponse("the server reset the stream"))

    def _goaway(self, last: int) -> None:
        """The server leaves: nothing new, and what came after `last` it has not looked at."""
        self.closing = True
        for stream_id, stream in list(self.streams.items()):
            if stream_id > last:
                stream.fail(NotProcessed("the server goes away"))
        self.room_made.unpark_all()
        self._end_if_done()

    def over(self, stream_id: int) -> None:
        """A stream has ended; called by its response."""
        if self.streams.pop(stream_id, None) is None:
            return
        self._idle_since = trio.current_time()
        self._budget.stream_ended(self._idle_since, answered=True)
        self.room_made.unpark()
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self.closing and not self.streams:
            self.link.close()

    def close(self) -> None:
        """No new requests; the connection ends with the last response."""
        if not self.closing:
            self.closing = True
            self.put(frames.goaway(0, ErrorCodes.NO_ERROR))
        self._end_if_done()

    def expire(self) -> None:
        """Look at the connection's deadlines; called by the sweeper."""
        now = trio.current_time()
        self.deadline = now + CHECK_EVERY
        if now - self._asked_alive > PING_WITHIN:
            hit("upstream_h2_ping_timeout")
            self.link.close()
        elif not self.streams:
            if now - self._idle_since > self._idle_seconds:
                self.close()
        elif self._asked_alive == math.inf and now - max(self.heard, self._idle_since) > PING_AFTER:
            self._asked_alive = now
            self.flush()
            self.put(frames.ping(ALIVE))
