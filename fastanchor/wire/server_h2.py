"""The server's side of one HTTP/2 connection: streams in, answers out, a task per request (RFC 9113).

The reader takes frames; each request starts its handler in a scope of its own, which ends with RST_STREAM or with the
connection, at once. A malformed request costs its stream; abuse and broken framing cost the connection (`h2_budget`).
Leaving takes two steps: GOAWAY for no stream in particular, so that nobody begins anew, and, when the client has had
time to see it, GOAWAY with the last stream that is served; the connection ends with that.
"""

from __future__ import annotations

import contextlib
import logging
import math

import h2.events
import trio
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, ProtocolError
from h2.settings import SettingCodes

from fastanchor._speedups.http1 import BadMessage, Header

from . import h2_frames as frames
from . import h2_grammar as grammar
from .errors import ClientGone
from .exchange_h2 import H2Reply, H2Request, status_of
from .h2_budget import Budget
from .h2_frames import Frame, Hostile, Scanner
from .h2_session import Session
from .h2_state import connection
from .hits import hit
from .limits import ServerLimits
from .link import DeadlinePassed, Link
from .message import ErrorShape, Handler
from .server_h1 import Drain, unwrapped
from .sweep import sweeper
from .waiter import Waiter

logger = logging.getLogger(__name__)

CHECK_EVERY = 0.5
"""Seconds between looks at the connection's deadlines."""
CANCELLED_AT_ONCE = 4
"""Streams of a connection that has ended."""
LEAVE_AFTER = 1.0
"""Seconds from the first GOAWAY to the last, unless the client answers the PING between them sooner."""
FAREWELL = b"farewell"


class Serving:
    """A stream, from its request's head to the end of its handler."""

    __slots__ = ("counted", "id", "reply", "request", "reset", "scope")

    def __init__(self, h2_connection: H2Connection, request: H2Request) -> None:
        self.id = request.id
        self.request = request
        self.reply = H2Reply(h2_connection, request)
        self.scope = trio.CancelScope()
        self.counted = True
        """It takes one of the places under the limit of concurrent streams."""
        self.reset = False

    @property
    def sending(self) -> Waiter:
        return self.reply.sending


class H2Connection(Session[Serving]):
    """One client."""

    def __init__(
        self,
        link: Link,
        handler: Handler,
        limits: ServerLimits,
        peer: str,
        secure: bool,
        on_error: ErrorShape,
        drain: Drain | None,
        received: bytes = b"",
    ) -> None:
        bounds = limits.h2
        settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: bounds.streams,
            SettingCodes.INITIAL_WINDOW_SIZE: bounds.stream_window,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.head.head,
        }
        super().__init__(
            link,
            connection(client=False, settings=settings),
            Scanner(limits.head.head, bounds.continuations),
            bounds.stream_window,
            bounds.connection_window,
        )
        self.handler = handler
        self.limits = limits
        self.peer = peer
        self.secure = secure
        self.on_error = on_error
        self.drain = drain
        self.deadline = 0.0
        self._received = received
        self._budget = Budget(bounds)
        self._preface = frames.PREFACE  # what of it is still to come
        self._greeted = False  # the client's SETTINGS have come
        self._busy = 0  # streams that count
        self._served = 0
        self._began = self._idle_since = trio.current_time()
        self._block_since = math.inf
        self._leaving_since = math.inf
        self._broken = False
        self._last_stream = frames.LAST_STREAM  # that will be served
        self._reading = trio.CancelScope()
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Serve until the connection ends, and close it."""
        sweeper().add(self)
        if self.drain is not None:
            self.drain.connections.add(self)
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self.write, name="wire.h2_writer")
                await self._serve()
                self._nursery.cancel_scope.cancel()
        finally:
            self._count(-self._busy)
            sweeper().discard(self)
            if self.drain is not None:
                self.drain.connections.discard(self)
            self.link.close()
            self.h2.ended()

    async def _serve(self) -> None:
        self.greet()
        self.flush()
        if self.drain is not None and self.drain.started:
            self.end_if_idle()
        try:
            with self._reading:
                await self.read(self._received)
        except Hostile as error:
            self._fail(error.bound, error.code)
        except DenialOfServiceError:
            self._fail("h2_header_list", None)
        except ProtocolError:
            self._fail("h2_protocol_error", None)
        except (OSError, DeadlinePassed, trio.ClosedResourceError):
            self.link.close()
        await self._cancel_all()
        if not self.link.closed:
            with contextlib.suppress(OSError, DeadlinePassed, trio.ClosedResourceError):
                await self._linger()

    async def _cancel_all(self) -> None:
        """Nobody waits for an answer. Many connections may end together, so others have their turn in between."""
        for i, stream in enumerate(list(self.streams.values()), 1):
            stream.scope.cancel()
            if i % CANCELLED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()

    def _fail(self, bound: str, code: ErrorCodes | None) -> None:
        """The connection is over; None: h2 has said why already."""
        if self._broken:
            return
        self._broken = True
        hit(bound)
        self.flush()
        if code is not None:
            self.put(frames.goaway(self.h2.highest_inbound_stream_id, code))

    async def _linger(self) -> None:
        """Let the last frames arrive: see them off, say that no more comes, and read a little of what does."""
        self.link.deadline = trio.current_time() + self.limits.linger
        await self.sent(self.limits.linger)
        self.link.end()
        left = self.limits.linger_bytes
        with contextlib.suppress(DeadlinePassed):
            while left > 0:
                if not (data := await self.link.recv()):
                    return
                left -= len(data)
        hit("linger")

    # -- frames and events --------------------------------------------------------------------------------------------

    async def read(self, received: bytes = b"") -> None:
        while self._preface:
            data = received or await self.link.recv()
            received = b""
            size = min(len(data), len(self._preface))
            if not data or data[:size] != self._preface[:size]:
                if data:
                    raise Hostile("h2_preface", ErrorCodes.PROTOCOL_ERROR)
                return
            self._preface = self._preface[size:]
            received = data[size:]
        self.h2.receive_data(frames.PREFACE)
        await super().read(received)

    def take(self, frame: Frame) -> None:
        if not self._greeted:
            if frame.kind != frames.SETTINGS or frame.ack:
                raise Hostile("h2_preface", ErrorCodes.PROTOCOL_ERROR)
            self._greeted = True
        is_open = frame.stream_id in self.streams
        is_new = frame.kind == frames.HEADERS and frame.stream_id > self.h2.highest_inbound_stream_id
        self._budget.frame(frame, trio.current_time(), is_open=is_open or is_new or self.scanner.in_block)
        if frame.kind == frames.GOAWAY and not frame.stream_id and len(frame.raw) >= frames.HEADER + 8:
            self._leave_quietly()  # h2 would forget the streams that are still open
            return
        super().take(frame)
        self._block_since = min(self._block_since, trio.current_time()) if self.scanner.in_block else math.inf
        if self._budget.worn:
            self.leave()

    def data_sent(self) -> None:
        self._budget.data_sent()

    def happened(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._request(event.stream_id, event.headers, ended=event.stream_ended is not None)
        elif isinstance(event, h2.events.StreamEnded):
            self._ended(event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self._trailers(event.stream_id, event.headers)
        elif isinstance(event, h2.events.StreamReset):
            self._reset_by_client(event.stream_id)
        elif isinstance(event, h2.events.PingAckReceived) and event.ping_data == FAREWELL and self._leaving:
            self._part()

    def arrived(self, stream_id: int, data: bytes, padding: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None and not stream.request.arrived(data, padding):
            self._malformed(stream_id)

    def _ended(self, stream_id: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        if not stream.request.ended():
            self._malformed(stream_id)
        elif stream.reply.finished:
            self._uncount(stream)

    def _trailers(self, stream_id: int, fields: list[Header]) -> None:
        try:
            grammar.check_trailers(fields, self.limits.head)
        except BadMessage:
            self._malformed(stream_id)

    def _reset_by_client(self, stream_id: int) -> None:
        """The client gave up, or made h2 give up on it: either way its handler ends. It is accounted for here, not
        when the handler has ended: a client that resets faster than we can start anything is stopped by then."""
        if (stream := self.streams.get(stream_id)) is not None and not stream.reset:
            stream.reset = True
            stream.scope.cancel()
            self._budget.stream_ended(trio.current_time(), answered=False)

    # -- requests -----------------------------------------------------------------------------------------------------

    def _request(self, stream_id: int, fields: list[Header], *, ended: bool) -> None:
        self.h2.forget_length(stream_id)
        if stream_id > self._last_stream:
            self.reset(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        if self._busy >= self.limits.h2.streams:
            hit("h2_streams")
            self.reset(stream_id, ErrorCodes.REFUSED_STREAM)
            self._budget.glitch()
            return
        try:
            head = grammar.read_request(fields, self.limits.head, ended=ended)
        except BadMessage as error:
            self._refuse(stream_id, error, ended=ended)
            return
        stream = Serving(self, H2Request(self, stream_id, head, ended=ended))
        self.streams[stream_id] = stream
        self._count(1)
        self._served += 1
        self._nursery.start_soon(self._answer, stream, name="wire.stream")
        if self._served == self.limits.requests:
            hit("requests")
            self.leave()

    def _refuse(self, stream_id: int, error: BadMessage, *, ended: bool) -> None:
        """A head that breaks the rules: its stream is reset, or answered where there is a status for it."""
        hit("h2_bad_request")
        self._budget.glitch()
        if error.status == 400:
            self.reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
            return
        headers, body = self.on_error(error.status, error.reason)
        fields = [*headers, (b"content-length", b"%d" % len(body))]
        self.h2.send_headers(stream_id, grammar.response_fields(error.status, fields))
        try:
            self.h2.send_data(stream_id, body, end_stream=True)
        except ProtocolError:  # a window too small even for this
            ended = False
        if not ended:
            self.reset(stream_id, ErrorCodes.NO_ERROR)

    def _malformed(self, stream_id: int) -> None:
        """Something behind a head breaks the rules."""
        hit("h2_bad_request")
        self._budget.glitch()
        self.reset(stream_id, ErrorCodes.PROTOCOL_ERROR)
        self._reset_by_client(stream_id)

    async def _answer(self, stream: Serving) -> None:
        """Run the handler on one request, and see its stream to an end."""
        try:
            with stream.scope:
                if not stream.reset:
                    await self._handle(stream)
        finally:
            self._over(stream)

    async def _handle(self, stream: Serving) -> None:
        reply = stream.reply
        try:
            await self.handler(stream.request, reply)
        except Exception as error:
            await self._failed(stream, unwrapped(error))
            return
        if not reply.finished:
            logger.error("handler left its answer unfinished: %r", stream.request)
            await self._answer_error(reply, 500, "internal error")

    async def _failed(self, stream: Serving, error: Exception) -> None:
        """The handler did not come to an end of its own."""
        if isinstance(error, ClientGone):
            stream.reply.abort()
            return
        status, reason = status_of(error)
        if status == 500:
            logger.error("handler failed: %r", stream.request, exc_info=error)
        await self._answer_error(stream.reply, status, reason)

    async def _answer_error(self, reply: H2Reply, status: int, reason: str) -> None:
        if reply.started:
            reply.abort()
            return
        headers, body = self.on_error(status, reason)
        with contextlib.suppress(ClientGone):
            await reply.respond(status, headers, body)

    def answered(self, stream_id: int) -> None:
        """The answer is whole; its request may not be: nobody wants the rest (RFC 9113 §8.1)."""
        stream = self.streams[stream_id]
        if not stream.request.over:
            self.reset(stream.id, ErrorCodes.NO_ERROR)
        self._uncount(stream)

    def _uncount(self, stream: Serving) -> None:
        if stream.counted:
            stream.counted = False
            self._count(-1)

    def _count(self, streams: int) -> None:
        self._busy += streams
        if self.drain is not None:
            self.drain.occupancy.opened(streams)

    def _over(self, stream: Serving) -> None:
        """The handler has ended."""
        reply = stream.reply
        if stream.request.share is not None:
            stream.request.share.give_back()
        if not reply.finished and not stream.reset:
            self.reset(stream.id, ErrorCodes.INTERNAL_ERROR)
        self._uncount(stream)
        del self.streams[stream.id]
        self._idle_since = trio.current_time()
        if not stream.reset:
            try:
                self._budget.stream_ended(self._idle_since, answered=reply.finished and reply.started)
            except Hostile as error:
                self._fail(error.bound, error.code)
                self._reading.cancel()
        self._end_if_done()

    def send_interim(self, stream_id: int, status: int) -> None:
        """An interim response, if the stream is still there."""
        with contextlib.suppress(ProtocolError):
            self.h2.send_headers(stream_id, grammar.response_fields(status, []))
        self.flush()

    # -- endings ------------------------------------------------------------------------------------------------------

    @property
    def _leaving(self) -> bool:
        return self._leaving_since < math.inf

    def end_if_idle(self) -> None:
        """The listener drains."""
        self.leave()

    def hurry(self, seconds: float) -> None:
        """Keep an idle connection for so long at most."""
        since = trio.current_time() + seconds - self.limits.idle
        if not self.streams and self._served and self._idle_since > since:
            hit("pressed_idle")
            self._idle_since = since

    def leave(self) -> None:
        """Serve what has begun, and what the client begins before it can know; then end."""
        if not self._leaving:
            self._leaving_since = trio.current_time()
            self.flush()
            self.put(frames.goaway(frames.LAST_STREAM, ErrorCodes.NO_ERROR) + frames.ping(FAREWELL))

    def _leave_quietly(self) -> None:
        """The client says that it begins nothing more."""
        self._leaving_since = min(self._leaving_since, trio.current_time())
        self._part()

    def _part(self) -> None:
        """No stream after those that have come."""
        if self._last_stream == frames.LAST_STREAM:
            self._last_stream = self.h2.highest_inbound_stream_id
            self.flush()
            self.put(frames.goaway(self._last_stream, ErrorCodes.NO_ERROR))
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._last_stream != frames.LAST_STREAM and not self.streams:
            self._reading.cancel()

    def expire(self) -> None:
        """Look at the connection's deadlines; called by the sweeper."""
        now = trio.current_time()
        self.deadline = now + CHECK_EVERY
        bounds = self.limits.h2
        if self.unsent and (len(self.unsent) > bounds.unsent or now - self.progress > self.limits.write_stall):
            hit("h2_unsent" if len(self.unsent) > bounds.unsent else "write_stall")
            self.link.close()
        elif not self._greeted and now - self._began > bounds.preface:
            self._give_up("h2_preface_timeout")
        elif now - self._block_since > bounds.header_block:
            self._give_up("h2_header_block_timeout")
        elif now - self._leaving_since > LEAVE_AFTER:
            self._part()
        elif not self.streams and now - self._idle_since > self.limits.idle:
            if not self._leaving:
                hit("idle")
            self._leave_quietly()

    def _give_up(self, bound: str) -> None:
        self._fail(bound, ErrorCodes.ENHANCE_YOUR_CALM)
        self._reading.cancel()
