"""Watches a Messages stream that passes through: byte-exact, in constant memory.

Until the first content the deltas are parsed, for the first that says something commits the answer. After it only
`message_*` events and errors are. Nothing is forwarded after `message_stop`, nor from an error on.

The output estimate is made of the bytes that went by, less what the frames around them cost: that counts text, thinking
and tool input alike, and needs no memory. Signatures and starts of blocks do not count.
"""

from __future__ import annotations

from typing import Any

import orjson

from fastanchor._speedups.pump import Middle
from fastanchor._speedups.sse import UNCLOSED, Marks, Scanner, parse
from fastanchor.core.events import Stop
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.anthropic import frames
from fastanchor.dialects.anthropic.stops import read_stop
from fastanchor.dialects.anthropic.usage import Counters
from fastanchor.providers.classify import from_event

BYTES_PER_TOKEN = 4
_FRAME = 120  # bytes around the text of a delta, padding included
_SAYING = ("text", "thinking", "partial_json")
_WEIGHTY = (b'"message_', b'"error"', b"event: error", b"[DONE]")
_UNCOUNTED = (b'"content_block_start"', b'"signature_delta"')
_WEIGHTY_BITS = (1 << len(_WEIGHTY)) - 1
_WATCHED = _WEIGHTY_BITS | UNCLOSED  # what bears something, and what is no whole JSON
_EARLY = (*_WEIGHTY, b'"content_block_delta"')
_DELTA_BIT = 1 << len(_WEIGHTY)
_LATE = (*_WEIGHTY, *_UNCOUNTED)


class MessagesObserver:
    """For one streamed answer. `done` adds `data: [DONE]` after `message_stop`."""

    def __init__(self, *, done: bool = False) -> None:
        self.usage = Usage()
        self.stop: Stop | None = None
        self.started = False
        self.complete = False
        self.fault: Fault | None = None
        self._done = done
        self._counters = Counters()
        self._scanner = Scanner(_EARLY, unclosed=True)
        self._begun = False
        self._finished = False
        self._late = False
        self._bytes = 0  # of deltas, frames included, before they were what is not marked
        self._events = 0

    @property
    def output_estimate(self) -> int:
        """Tokens."""
        late = self._late
        events = self._events + (self._scanner.plain if late else 0)
        size = max(0, self._bytes + (self._scanner.plain_bytes if late else 0) - _FRAME * events)
        return max(size // BYTES_PER_TOKEN, 1) if self.started else 0

    def _over(self) -> bool:
        return self.complete or self.fault is not None

    @property
    def middle(self) -> Middle:
        return self._scanner.through, self._marked

    def feed(self, data: bytes) -> bytes:
        """Take bytes in, give whole events out."""
        return b"" if self._over() else self._scanner.through(data, self._marked)

    def _marked(self, whole: bytes, marks: Marks | None) -> bytes:
        """What goes out of events some of which are marked."""
        if marks is None:
            self.fault = Fault(Kind.MALFORMED_ANSWER, "The model provider sent an event that is too large.")
            return b""
        if not self._late:
            self._measure(marks)
        out = self._judged(whole, marks)
        if self.started and not self._late:
            self._settle()
        return out

    def end(self) -> bytes:
        """The transport ended: a last frame without its blank line counts when its JSON is whole."""
        if self._over():
            return b""
        tail = self._scanner.tail().rstrip(b"\r\n")
        out = b""
        if tail and _object(parse(tail).data or tail) is not None:
            whole = tail + b"\n\n"
            out = self._judged(whole, [(0, len(whole), _WEIGHTY_BITS)])
        if self._over():
            return out
        if not self._finished:
            self.fault = Fault(Kind.TRUNCATED if self._begun else Kind.EMPTY_ANSWER)
            return out
        self.complete = True
        return out + frames.MESSAGE_STOP + self._marker()

    def _measure(self, marks: Marks) -> None:
        """Count the deltas: at first they are what is marked, later what is not, which the scanner counts."""
        deltas = [end - start for start, end, mask in marks if mask & _DELTA_BIT]
        self._bytes += sum(deltas)
        self._events += len(deltas)

    def _settle(self) -> None:
        """Content has been seen: from now on most events need not be looked at."""
        held, self._scanner, self._late = self._scanner.tail(), Scanner(_LATE, unclosed=True), True
        self._scanner.feed(held)  # it holds no whole event, so none comes out

    def _judged(self, whole: bytes, marks: Marks) -> bytes:
        """What of these events may be forwarded."""
        for start, end, mask in marks:
            if self.started and not mask & _WATCHED:
                continue
            frame = parse(whole[start:end])
            self._event(frame.event, frame.data or whole[start:end].strip())
            if self.fault is not None:
                return whole[:start]
            if self.complete:
                return whole[:end] + self._marker()
        return whole

    def _event(self, name: bytes, data: bytes) -> None:
        if data.strip() == b"[DONE]":
            self.complete = self._finished
            return
        document = _object(data)
        if document is None:
            self.fault = Fault(Kind.MALFORMED_ANSWER)
            return
        kind = document.get("type")
        if kind == "error" or name == b"error" or (kind is None and "error" in document):
            self.fault = from_event(data)
        elif kind == "message_start":
            self._message_start(document)
        elif kind == "content_block_delta":
            delta = document.get("delta")
            self.started = self.started or (isinstance(delta, dict) and any(delta.get(name) for name in _SAYING))
        elif kind == "message_delta":
            self._message_delta(document)
        elif kind == "message_stop":
            self.complete = self.started = True
        elif kind == "message":
            self.fault = Fault(Kind.MALFORMED_ANSWER, "The model provider did not stream its answer.")

    def _message_start(self, document: dict[str, Any]) -> None:
        if self._begun:  # a proxy's own retry: what has been forwarded cannot be taken back
            self.fault = Fault(Kind.MALFORMED_ANSWER, "The model provider began its answer a second time.")
            return
        self._begun = True
        message = document.get("message")
        if isinstance(message, dict):
            self._counters.opening(message.get("usage"))
            self.usage.update(self._counters.usage())

    def _message_delta(self, document: dict[str, Any]) -> None:
        delta = document.get("delta")
        if isinstance(delta, dict) and isinstance(delta.get("stop_reason"), str):
            self._finished = self.started = True
            self.stop = read_stop(delta["stop_reason"], called=False)
        self._counters.update(document.get("usage"))
        self.usage.update(self._counters.usage())

    def _marker(self) -> bytes:
        return frames.DONE if self._done else b""


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
