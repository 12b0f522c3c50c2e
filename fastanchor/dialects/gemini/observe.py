"""Watches a Gemini stream that passes through unchanged: its usage, its end, and an error in its midst.

Gemini puts usageMetadata on every document, so each is read; the reading skips all but a few members.
Memory is one event, whatever the length of the stream.
"""

from __future__ import annotations

import re

from fastanchor._speedups import sse
from fastanchor.core.events import Stop
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.gemini import faults, words
from fastanchor.dialects.gemini.answers import UNREADABLE, Glance, GlanceCandidate, glance, part
from fastanchor.dialects.gemini.frames import BETWEEN, MAX_DOCUMENT, SPACE, Elements, framing

NEEDLES = (b'"candidates"', b'"usageMetadata"', b'"promptFeedback"', b'"error"')
MEASURE = b'"text"'
TEXT = re.compile(rb'"text"[ \t\r\n]*+:[ \t\r\n]*+"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
BYTES_PER_TOKEN = 4
MAX_CANDIDATES = 128


def usage_of(body: bytes) -> Usage:
    """Counters of a whole answer; what is not said stays None, but vectors have no output to count."""
    try:
        seen = glance(body)
    except UNREADABLE:
        return Usage()
    usage = words.usage_in(seen.usage_metadata) if seen.usage_metadata else Usage()
    if usage.output is None and (usage.input is not None or seen.candidates is None):
        usage.output = 0
    return usage


class GeminiObserver:
    """See `contract.Observer`. The framing is judged by the first byte, as the decoder does."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.stop: Stop | None = None
        self.started = False
        self.fault: Fault | None = None
        self._events: sse.Scanner | None = None
        self._elements: Elements | None = None
        self._space = b""
        self._measured = 0  # bytes of text in a JSON array, which no scanner measures
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self._called: set[int] = set()
        self._blocked = False

    @property
    def complete(self) -> bool:
        """Every candidate that began has finished, or the prompt was blocked. The transport's end is still to come."""
        return self._begun <= self._finished if self._finished else self._blocked and not self._begun

    @property
    def output_estimate(self) -> int:
        measured = self._events.measured if self._events else self._measured
        return -(-measured // BYTES_PER_TOKEN)

    def feed(self, data: bytes) -> bytes:
        if self.fault is not None:
            return b""
        try:
            if self._events is None and self._elements is None:
                data = self._begin(data)
            if self._events is not None:
                return self._scan(self._events, data)
            return self._split(self._elements, data) if self._elements is not None else b""
        except sse.EventTooLarge:
            self.fault = Fault(Kind.MALFORMED_ANSWER, "The model provider sent an event that is too large.")
            return b""

    def end(self) -> bytes:
        if self.fault is not None:
            return b""
        tail = self._tail()
        if self.fault is None and not self.complete:
            self.fault = Fault(Kind.TRUNCATED if self.started else Kind.EMPTY_ANSWER)
        return b"" if self.fault is not None else tail

    def _begin(self, data: bytes) -> bytes:
        """Choose the framing; white space before the first byte that tells is kept for the client."""
        data, self._space = self._space + data, b""
        kind = framing(data)
        if kind == "sse":
            self._events = sse.Scanner(NEEDLES, measure=MEASURE, unclosed=True, max_event=MAX_DOCUMENT)
        elif kind == "array":
            self._elements = Elements()
        else:
            self._space = data[-len(SPACE) :]
        return data

    def _scan(self, scanner: sse.Scanner, data: bytes) -> bytes:
        whole, marks = scanner.feed(data)
        for start, end, _ in marks:
            if not self._event(whole[start:end]):
                return whole[:start]
        return whole

    def _event(self, raw: bytes) -> bool:
        """Read one raw event; False when it is an error. Bare JSON, Gemini's error between events, is read too."""
        if b'"error"' not in raw and (data := sse.data_of(raw)):
            return self._document(data)
        reader = sse.Decoder(max_event=MAX_DOCUMENT)
        last = [*reader.feed(raw), reader.end()]
        return all(self._document(event.data) for event in last if event is not None)

    def _split(self, elements: Elements, data: bytes) -> bytes:
        whole, spans = elements.feed(data)
        good = 0
        for start, end in spans:
            if not self._document(whole[start:end]):
                return whole[:good]
            self._measured += sum(len(text) for text in TEXT.findall(whole, start, end))
            good = end
        return whole

    def _tail(self) -> bytes:
        """What no blank line has ended: an event counts when its JSON is whole; the close of an array is passed on."""
        if self._elements is not None:
            tail = self._elements.tail()
            if tail.strip(BETWEEN):
                self.fault = Fault(Kind.TRUNCATED)
            return tail
        tail = self._events.tail() if self._events else b""
        if tail.strip(SPACE):
            self._event(tail)
            if self.fault is not None and self.fault.kind is Kind.MALFORMED_ANSWER:
                self.fault = Fault(Kind.TRUNCATED)
        return tail

    def _document(self, document: bytes) -> bool:
        fault = faults.in_band(document)
        if fault is None:
            try:
                self._note(glance(document))
                return True
            except UNREADABLE:
                fault = Fault(Kind.MALFORMED_ANSWER)
        self.fault = fault
        return False

    def _note(self, seen: Glance) -> None:
        if seen.usage_metadata is not None:
            self.usage.update(words.usage_in(seen.usage_metadata))
        if seen.prompt_feedback is not None and seen.prompt_feedback.block_reason:
            self._blocked = self.started = True
            self.stop = Stop.CONTENT_FILTER
        for candidate in seen.candidates or ():
            self._candidate(candidate)

    def _candidate(self, candidate: GlanceCandidate) -> None:
        index = candidate.index or 0
        if not 0 <= index < MAX_CANDIDATES:
            return
        self._begun.add(index)
        parts = candidate.content.parts or () if candidate.content else ()
        if parts:
            self.started = self.started or any(part(raw).text != "" for raw in parts)
            if any(b'"functionCall"' in bytes(raw) for raw in parts):
                self._called.add(index)
        if candidate.finish_reason not in (None, *words.UNSPECIFIED):
            self.started = True
            self._finished.add(index)
            stop = words.STOPS.get(candidate.finish_reason or "", Stop.UNKNOWN)
            self.stop = Stop.TOOL_CALLS if stop is Stop.END and index in self._called else stop
