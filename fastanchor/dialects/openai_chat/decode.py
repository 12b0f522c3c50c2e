"""A chat answer, streamed or whole, as events.

`Finish` waits for the end of the stream: choices end one by one, vendors repeat the finish chunk, and some send an
error after it. The terminal marker is `[DONE]`; a stream that ends cleanly without it is whole if every choice has
finished. Data that is no JSON ends the answer with a fault, for a piece of it would be lost; unknown chunks are
skipped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from fastanchor._speedups import sse
from fastanchor.core.events import Begin, Counted, End, Event, Failed
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.openai_chat.choice import Broken, ChoiceReader
from fastanchor.dialects.openai_chat.documents import load, rows, text
from fastanchor.dialects.openai_chat.observe import is_cut, is_error
from fastanchor.dialects.openai_chat.usage import chunk_usage
from fastanchor.providers.classify import from_event

MAX_CHOICES = 128
MAX_BLOCKS = 4096


class ChatDecoder:
    """Stream bytes → events; a whole answer is a stream of one document (`read_answer`)."""

    def __init__(self) -> None:
        self._frames = sse.Decoder()
        self._events: list[Event] = []
        self._usage = Usage()
        self._choices: dict[int, ChoiceReader] = {}
        self._blocks = 0
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        if self._over:
            return []
        try:
            frames = self._frames.feed(data)
        except sse.EventTooLarge:
            self._fail(Fault(Kind.MALFORMED_ANSWER))
            return self._given()
        for frame in frames:
            self._take_frame(frame)
        return self._given()

    def end(self) -> list[Event]:
        if self._over:
            return []
        last = self._frames.end()
        if last is not None and _is_whole(last.data):
            self._take_frame(last)
        self._conclude()
        return self._given()

    def read_answer(self, body: bytes) -> list[Event]:
        """A whole answer."""
        self._take_frame(sse.Event(b"", body))
        self._finish()
        return self._given()

    def _given(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _conclude(self) -> None:
        if not self._choices or all(choice.finished for choice in self._choices.values()):
            self._finish()
        else:
            self._fail(Fault(Kind.TRUNCATED))

    def _take_frame(self, frame: sse.Event) -> None:
        if self._over:
            return
        data = frame.data.strip()
        if data == b"[DONE]":
            self._finish()
            return
        try:
            document = load(data)
        except ValueError:
            if not self._choices or is_cut(data):
                self._fail(Fault(Kind.MALFORMED_ANSWER))
            return
        for chunk in [document] if isinstance(document, dict) else rows(document):
            if is_error(frame.event, chunk):
                self._count(chunk)
                self._fail(from_event(orjson.dumps(chunk)))
                return
            self.take(chunk)

    def take(self, chunk: dict[str, Any]) -> None:
        """One chunk, or one whole answer."""
        choices = rows(chunk.get("choices"))
        try:
            if choices and not self._choices:
                self._begin(chunk)
            for position, choice in enumerate(choices):
                self._choice(choice.get("index"), position).take(choice)
        except Broken:
            self._fail(Fault(Kind.MALFORMED_ANSWER))
        self._count(chunk)

    def _choice(self, index: object, position: int) -> ChoiceReader:
        number = index if type(index) is int else position
        reader = self._choices.get(number)
        if reader is None:
            if not 0 <= number < MAX_CHOICES:
                raise Broken
            reader = self._choices[number] = ChoiceReader(number, self._number, self._emit)
        return reader

    def _emit(self, event: Event) -> None:
        self._events.append(event)

    def _number(self) -> int:
        if self._blocks >= MAX_BLOCKS:
            raise Broken
        self._blocks += 1
        return self._blocks - 1

    def _begin(self, chunk: dict[str, Any]) -> None:
        created = chunk.get("created")
        seconds = created if type(created) is int and 0 < created < 2**53 else 0
        self._emit(Begin(text(chunk.get("id")), text(chunk.get("model")), seconds, text(chunk.get("service_tier"))))
        if self._usage != Usage():
            self._emit(Counted(replace(self._usage)))

    def _count(self, chunk: dict[str, Any]) -> None:
        """Note the usage; what comes before the beginning waits for it."""
        usage = chunk_usage(chunk)
        if usage is not None:
            self._usage.update(usage)
            if self._choices and not self._over:
                self._emit(Counted(replace(self._usage)))

    def _finish(self) -> None:
        if self._over:
            return
        if not self._choices:
            self._fail(Fault(Kind.EMPTY_ANSWER))
            return
        try:
            for choice in self._choices.values():
                choice.close()
        except Broken:
            self._fail(Fault(Kind.MALFORMED_ANSWER))
            return
        self._events += [self._choices[number].finish() for number in sorted(self._choices)]
        self._events.append(End())
        self._over = True

    def _fail(self, fault: Fault) -> None:
        if not self._over:
            self._events.append(Failed(fault))
        self._over = True


def _is_whole(data: bytes) -> bool:
    try:
        load(data)
    except ValueError:
        return data.strip() == b"[DONE]"
    return True
