"""A Gemini answer, streamed or whole, as events.

The end of the transport is the only terminal marker: an answer is whole when a finishReason has been seen for every
candidate that began (or the prompt was blocked), and `Finish` waits for it, since parts may still follow.
"""

from __future__ import annotations

import re
from datetime import datetime

from fastanchor._speedups import sse
from fastanchor.core.events import Begin, Counted, End, Event, Failed, Finish, Stop
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.gemini import faults, words
from fastanchor.dialects.gemini.answers import UNREADABLE, Answer, answer, given, searches
from fastanchor.dialects.gemini.candidate import CandidateReader, Numbers
from fastanchor.dialects.gemini.frames import Frames

MAX_CANDIDATES = 128
MAX_ID = 28  # characters of the response id in a call's: OpenAI refuses ids of more than 40

_NO_ID = re.compile(r"[^A-Za-z0-9_-]")


class GeminiDecoder:
    """Stream bytes to events; also reads a whole answer, which is a stream of one document."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._numbers = Numbers()
        self._candidates: dict[int, CandidateReader] = {}
        self._input: int | None = None
        self._counted = False  # a count of the output has been seen
        self._searches = 0
        self._blocked = ""
        self._begun = False
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        if self._over:
            return []
        try:
            documents = self._frames.feed(data)
        except sse.EventTooLarge:
            return self._fail(Fault(Kind.MALFORMED_ANSWER, "The model provider sent an event that is too large."))
        events: list[Event] = []
        for document in documents:
            events += self._take(document)
            if _failed(events):
                break
        return events

    def end(self) -> list[Event]:
        if self._over:
            return []
        last = self._frames.end()
        events = self._last(last) if last else []
        if _failed(events):
            return events
        fault = self._incomplete()
        for candidate in self._candidates.values():
            events += candidate.end()
        if fault is not None:
            return events + self._fail(fault)
        self._over = True
        events += [candidate.finished() for _, candidate in sorted(self._candidates.items())]
        if not self._candidates:
            events.append(Finish(Stop.CONTENT_FILTER, native=self._blocked))
        if self._input is not None and not self._counted:
            events.append(Counted(Usage(self._input, 0)))  # zero counters are left out of proto3 JSON
        return [*events, End()]

    def _last(self, document: bytes) -> list[Event]:
        """A document that no blank line has ended: it counts when its JSON is whole."""
        try:
            answer(document)
        except UNREADABLE:
            return self._fail(Fault(Kind.TRUNCATED))
        return self._take(document)

    def _take(self, document: bytes) -> list[Event]:
        fault = faults.in_band(document)
        if fault is not None:
            return self._fail(fault)
        events: list[Event] = []
        try:
            self._read(answer(document), events)
        except (*UNREADABLE, ValueError):
            return events + self._fail(Fault(Kind.MALFORMED_ANSWER))
        return events

    def _read(self, read: Answer, events: list[Event]) -> None:
        events += self._begin(read)
        for candidate in read.candidates or ():
            index = candidate.index or 0
            if index not in self._candidates:
                if not 0 <= index < MAX_CANDIDATES:
                    raise ValueError("a candidate out of bounds")
                self._candidates[index] = CandidateReader(index, self._numbers)
            events += self._candidates[index].take(candidate)
            if given(candidate.grounding_metadata):
                self._searches = max(self._searches, searches(candidate.grounding_metadata))
        if read.prompt_feedback is not None and read.prompt_feedback.block_reason:
            self._blocked = read.prompt_feedback.block_reason
        if read.usage_metadata is not None:
            events += self._count(words.usage_in(read.usage_metadata))

    def _begin(self, read: Answer) -> list[Event]:
        if self._begun:
            return []
        self._begun = True
        response_id = read.response_id or ""
        self._numbers.response_id = _NO_ID.sub("", response_id)[:MAX_ID]
        return [Begin(response_id, read.model_version or "", _unix(read.create_time))]

    def _count(self, usage: Usage) -> list[Event]:
        """Counters are cumulative: the last one wins, and one that is missing keeps its value."""
        usage.searches = self._searches
        if usage.input is None and usage.output is None:
            return []
        self._input = usage.input if usage.input is not None else self._input
        self._counted = self._counted or usage.output is not None
        return [Counted(usage)]

    def _incomplete(self) -> Fault | None:
        if not self._begun:
            return Fault(Kind.EMPTY_ANSWER)
        if self._blocked and not self._candidates:
            return None
        if not self._candidates or not all(candidate.finish for candidate in self._candidates.values()):
            return Fault(Kind.TRUNCATED)
        for candidate in self._candidates.values():
            if candidate.finish in words.BROKEN and not candidate.content:
                return Fault(Kind.EMPTY_ANSWER, f"The model made a call that cannot be read ({candidate.finish}).")
        return None

    def _fail(self, fault: Fault) -> list[Event]:
        self._over = True
        return [Failed(fault)]


def _failed(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[-1], Failed)


def _unix(time: str | None) -> int:
    """Unix seconds of an RFC 3339 timestamp, 0 when it is none."""
    try:
        moment = datetime.fromisoformat(time or "")
        return int(moment.timestamp()) if moment.tzinfo else 0
    except (ValueError, OverflowError):
        return 0
