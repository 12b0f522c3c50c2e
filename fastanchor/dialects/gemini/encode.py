"""Events as a Gemini answer: a stream of server-sent events (CRLF), a stream that is one JSON array, or a whole answer.

There is no `[DONE]` and no keep-alive: both break google-genai (reference §1.6).
"""

from __future__ import annotations

from collections.abc import Iterable

from fastanchor.core.events import Counted, End, Event, Failed, Text, Thought
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.gemini import faults
from fastanchor.dialects.gemini.documents import Documents


class GeminiEncoder:
    """A stream, framed as the call's option `framing` says: "sse" (default) or "array"."""

    def __init__(self, answering: Answering) -> None:
        self._documents = Documents(answering)
        self._array = answering.call.options.get("framing") == "array"
        self._request_id = answering.request_id
        self._opened = False
        self._closed = False

    def feed(self, events: Iterable[Event]) -> bytes:
        out = b""
        for event in events:
            if self._closed:
                break
            if isinstance(event, Failed):
                out += self._frame(self._documents.document())
                out += self._frame(faults.error_line(event.fault, self._request_id)) + self._end()
                break
            self._documents.take(event)
            if isinstance(event, End):
                return out + self._frame(self._documents.document()) + self._end()
        return out if self._closed else out + self._frame(self._documents.document())

    def _frame(self, document: bytes) -> bytes:
        if not document:
            return b""
        if not self._array:
            return b"data: " + document + b"\r\n\r\n"
        before = b",\r\n" if self._opened else b"["
        self._opened = True
        return before + document

    def _end(self) -> bytes:
        self._closed = True
        if not self._array:
            return b""
        return b"]" if self._opened else b"[]"


def whole_answer(events: Iterable[Event], answering: Answering) -> bytes:
    """The events of one answer as one GenerateContentResponse, neighbouring texts joined. Raises Fault on Failed."""
    documents = Documents(answering)
    for event in _joined(events):
        if isinstance(event, Failed):
            raise event.fault
        documents.take(event)
    return documents.document()


def _joined(events: Iterable[Event]) -> Iterable[Event]:
    """The same events, neighbouring texts or thoughts of one block in one piece; counters may stand between."""
    held: list[Text | Thought] = []
    for event in events:
        if isinstance(event, Counted):
            yield event
            continue
        if held and not (type(event) is type(held[0]) and getattr(event, "block", None) == held[0].block):
            yield _sum(held)
            held = []
        if isinstance(event, Text | Thought):
            held.append(event)
        else:
            yield event
    if held:
        yield _sum(held)


def _sum(pieces: list[Text | Thought]) -> Text | Thought:
    text = "".join(piece.text for piece in pieces)
    first = pieces[0]
    if isinstance(first, Thought):
        return Thought(first.block, text, first.summary)
    entries = [piece.logprobs.strip()[1:-1] for piece in pieces if isinstance(piece, Text) and piece.logprobs]
    return Text(first.block, text, b"[" + b",".join(filter(None, entries)) + b"]" if entries else b"")
