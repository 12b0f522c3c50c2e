"""Watches a Responses stream on its way through: byte-exact, in constant memory.

Until the first delta every event is read, so that an early failure is seen before anything is promised to the client;
after it only events that can end the answer, and those that are no whole JSON. The stream is whole with
`response.completed` or `response.incomplete`; nothing that follows them is forwarded (OpenRouter adds a `[DONE]` that
this API does not have). An error ends the forwarding before its event: the gateway tells the fault itself, once, as the
failure of this response, and with the numbers that follow those that were forwarded.
"""

from __future__ import annotations

from fastanchor._speedups import sse
from fastanchor.core.events import Stop
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.numbering import NUMBER, following
from fastanchor.dialects.openai_responses.errors import error_events
from fastanchor.dialects.openai_responses.usage import read_usage
from fastanchor.dialects.openai_responses.wire import Frame, Response, read_frame, read_item, read_response
from fastanchor.dialects.openai_responses.words import CALLS, ENDINGS
from fastanchor.providers.classify import from_event

BYTES_PER_TOKEN = 4
_ENDS = (*(b'"%b"' % kind.encode() for kind in ENDINGS), b'"error"', b"event: error")
_EVERY = (b"data", b"{")
_WATCHED = (1 << len(_ENDS)) - 1 | sse.UNCLOSED
"""In a mask: the event may end the answer, or is no whole JSON."""


class Observer:
    """See `contract.Observer`, and `relay.Failing`."""

    def __init__(self) -> None:
        self._response = Response()  # as its first event tells it
        self._numbered = b""  # what was forwarded last and has numbers
        self.usage = Usage()
        self.stop: Stop | None = None
        self.started = False
        self.complete = False
        self.fault: Fault | None = None
        self._scanner = sse.Scanner(_ENDS + _EVERY, measure=b'"delta":"', unclosed=True)

    @property
    def response_id(self) -> str:
        """The provider's id of the response, "" until it has said it: what later calls of the chain name, and what
        leads them to this channel again."""
        return self._response.id or ""

    @property
    def output_estimate(self) -> int:
        """Tokens: a quarter of the bytes of all deltas."""
        return -(-self._scanner.measured // BYTES_PER_TOKEN)

    def failed(self, fault: Fault) -> bytes:
        """The fault as the end of this stream."""
        said, number = self._response, following(self._numbered)
        return error_events(fault, self.response_id, number=number, model=said.model or "", created=said.created)

    def feed(self, data: bytes) -> bytes:
        out = self._feed(data)
        if NUMBER in out:
            self._numbered = out
        return out

    def _feed(self, data: bytes) -> bytes:
        if self.complete or self.fault is not None:
            return b""
        try:
            whole, marks = self._scanner.feed(data)
        except sse.EventTooLarge:
            self.fault = Fault(Kind.MALFORMED_ANSWER)
            return b""
        for start, end, mask in marks:
            if not self.started or mask & _WATCHED:
                verdict = self._judge(whole[start:end])
                if verdict is not None:
                    return whole[: end if verdict else start]
        return whole

    def end(self) -> bytes:
        """A last event that no blank line has ended counts when it is whole, and gets the blank line clients need."""
        if self.complete or self.fault is not None:
            return b""
        tail = self._scanner.tail().strip()
        verdict = self._judge(tail) if _is_whole(tail) else None
        if verdict is None:
            self._fail(Fault(Kind.TRUNCATED))
        return tail + b"\n\n" if verdict else b""

    def _judge(self, raw: bytes) -> bool | None:
        """Whether this event ends the answer well (True) or badly (False); None when the stream goes on."""
        event = sse.parse(raw)
        data = event.data or _bare(raw)
        if not data or data.strip() == b"[DONE]":
            return None
        try:
            frame = read_frame(data) or Frame()
        except ValueError:
            return self._fail(Fault(Kind.MALFORMED_ANSWER))
        kind = frame.kind(event.event)
        if kind in ENDINGS:
            return self._ended(frame)
        if kind == "error":
            return self._fail(from_event(data))
        if kind.endswith(".delta"):
            self.started = True
        elif not self.response_id:
            self._response = read_response(frame.response) or self._response
        return None

    def _ended(self, frame: Frame) -> bool:
        """The terminal snapshot has the usage, also where the answer failed."""
        said = read_response(frame.response)
        self._response = self._response if self.response_id else said or self._response
        self.usage = read_usage(frame.response)
        if said is None:
            return self._fail(Fault(Kind.MALFORMED_ANSWER))
        if said.failed:
            return self._fail(from_event(bytes(frame.response)))
        items = [item for raw in said.output or () if (item := read_item(raw)) is not None]
        calls = any(item.type in CALLS for item in items)
        self.stop = said.stop(calls=calls, refused=any(item.refused for item in items))
        self.started = self.complete = True
        return True

    def _fail(self, fault: Fault) -> bool:
        self.fault = fault
        return False


def _bare(raw: bytes) -> bytes:
    """An error that a provider sent between the events without framing it."""
    return raw.strip() if raw.lstrip().startswith(b"{") else b""


def _is_whole(raw: bytes) -> bool:
    try:
        read_frame(sse.data_of(raw) or _bare(raw))
    except ValueError:
        return False
    return True
