"""A Messages stream as events.

Faults of real upstreams that are mended here: a block that is never stopped, a block whose start is missing, a tool
whose whole input stands in its start, a second `message_start` before any content, frames without `event:` lines, a
last frame without its blank line. Not mended, because something would be lost: data that is no JSON, tool input without
a tool, a second `message_start` after content. Unknown events are skipped, as the versioning policy asks.
Source: "Streaming Messages" of the Claude API documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from fastanchor._speedups.sse import Decoder as FrameDecoder
from fastanchor._speedups.sse import Event as Frame
from fastanchor._speedups.sse import EventTooLarge
from fastanchor.core.events import (
    Arguments,
    Begin,
    Block,
    BlockEnd,
    Citation,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Ping,
    Raw,
    Signature,
    Text,
    Thought,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.anthropic.content import KINDS, MAX_BLOCKS, MAX_TOOLS, NAME, opening, part, start_of, text_of
from fastanchor.dialects.anthropic.stops import read_stop
from fastanchor.dialects.anthropic.usage import Counters
from fastanchor.providers.classify import from_event

_EMPTY_INPUT = (b"", b"{}", b"null")


@dataclass(slots=True)
class _Open:
    """A block not yet stopped. `whole` is the input that stood in its start, until a delta takes its place."""

    number: int
    kind: Block
    whole: bytes = b""


class MessagesDecoder:
    """Frames of one streamed answer → events."""

    def __init__(self) -> None:
        self._frames = FrameDecoder()
        self._out: list[Event] = []
        self._open: dict[object, _Open] = {}  # by the upstream's index
        self._blocks = 0
        self._begun = False
        self._content = False
        self._calls = 0
        self._finished = False
        self._closed = False
        self._counters = Counters()

    def feed(self, data: bytes) -> list[Event]:
        """Events that are complete now."""
        if self._closed:
            return []
        try:
            for frame in self._frames.feed(data):
                self._frame(frame)
        except EventTooLarge:
            self._fail("The model provider sent an event that is too large.")
        return self._take()

    def end(self) -> list[Event]:
        """The transport ended: what is left, with End or Failed."""
        last = None if self._closed else self._frames.end()
        if last is not None and _object(last.data) is not None:
            self._frame(last)
        if not self._closed:
            self._finish_stream()
        return self._take()

    def _take(self) -> list[Event]:
        out, self._out = self._out, []
        return out

    def _frame(self, frame: Frame) -> None:
        if self._closed:
            return
        if frame.data.strip() == b"[DONE]":
            if self._finished:
                self._finish_stream()
            return
        document = _object(frame.data)
        if document is None:
            self._fail("The model provider sent an event that is not JSON.")
            return
        name = document.get("type")
        if name == "error" or frame.event == b"error" or (name is None and "error" in document):
            self._close(Failed(from_event(frame.data)))
            return
        handle = _HANDLERS.get(name if isinstance(name, str) else frame.event.decode("ascii", "replace"))
        if handle is not None:
            handle(self, document, frame.data)

    def _message_start(self, document: dict[str, Any], data: bytes) -> None:
        if self._content:
            self._fail("The model provider began its answer a second time.")
            return
        self._stop_blocks()
        message = _member(document, "message")
        usage = _member(message, "usage")
        if not self._begun:
            self._begun = True
            self._out.append(
                Begin(text_of(message.get("id")), text_of(message.get("model")), 0, text_of(usage.get("service_tier")))
            )
        self._counters.opening(usage)
        self._out.append(Counted(self._counters.usage()))

    def _block_start(self, document: dict[str, Any], data: bytes) -> None:
        if self._went_on():
            return
        index = _index(document)
        if index in self._open:
            self._stop(index)
        block = _member(document, "content_block")
        kind = KINDS.get(text_of(block.get("type")), Block.HOSTED)
        raw = bytes(part(data).content_block) if block else b""
        opened = self._start(index, kind, block, raw)
        if opened is not None:
            self._out += opening(opened.number, kind, block, raw)
            self._content = self._content or bool(block.get("text") or block.get("thinking"))

    def _start(self, index: object, kind: Block, block: dict[str, Any], raw: bytes) -> _Open | None:
        self._calls += kind is Block.TOOL
        if self._blocks >= MAX_BLOCKS or self._calls > MAX_TOOLS:
            self._fail("The model provider sent too many blocks.")
            return None
        self._begin()
        opened = self._open[index] = _Open(self._blocks, kind)
        self._blocks += 1
        self._out.append(start_of(opened.number, kind, block, raw))
        if kind is Block.TOOL:
            opened.whole = bytes(part(raw).input).strip()
        return opened

    def _went_on(self) -> bool:
        """Content after the reason why there is no more is no answer that anybody meant."""
        if self._finished:
            self._fail("The model provider went on after the end of its answer.")
        return self._finished

    def _block_delta(self, document: dict[str, Any], data: bytes) -> None:
        if self._went_on():
            return
        delta = _member(document, "delta")
        opened = self._open.get(_index(document)) or self._unannounced(document, delta)
        if opened is None:
            return
        name = delta.get("type")
        if name == "input_json_delta" and opened.kind is Block.TOOL:
            piece = text_of(delta.get("partial_json")).encode("utf-8", "replace")
            if piece:
                opened.whole = b""
                self._say(Arguments(opened.number, piece))
        elif name == "text_delta" and opened.kind is Block.TEXT:
            if delta.get("text"):
                self._say(Text(opened.number, text_of(delta["text"])))
        elif name == "thinking_delta" and opened.kind is Block.THOUGHT:
            if delta.get("thinking"):
                self._say(Thought(opened.number, text_of(delta["thinking"])))
        elif name == "signature_delta" and opened.kind is Block.THOUGHT:
            self._out.append(Signature(opened.number, NAME, text_of(delta.get("signature"))))
        elif name == "citations_delta" and opened.kind is Block.TEXT:
            self._out.append(Citation(opened.number, NAME, bytes(part(bytes(part(data).delta)).citation)))
        elif delta:
            self._out.append(Raw(opened.number, NAME, bytes(part(data).delta)))

    def _unannounced(self, document: dict[str, Any], delta: dict[str, Any]) -> _Open | None:
        """A delta of a block that was not started, or is stopped: text goes on in a new block, tool input cannot."""
        kind = {"text_delta": Block.TEXT, "thinking_delta": Block.THOUGHT}.get(text_of(delta.get("type")))
        if kind is not None:
            return self._start(_index(document), kind, {}, b"")
        if delta.get("type") == "input_json_delta" and delta.get("partial_json"):
            self._fail("The model provider sent tool input without a tool.")
        return None

    def _block_stop(self, document: dict[str, Any], data: bytes) -> None:
        if _index(document) in self._open:
            self._stop(_index(document))

    def _message_delta(self, document: dict[str, Any], data: bytes) -> None:
        self._begin()
        delta = _member(document, "delta")
        native = delta.get("stop_reason")
        if isinstance(native, str) and not self._finished:
            self._stop_blocks()
            self._finished = True
            details = bytes(part(bytes(part(data).delta)).stop_details)
            self._say(
                Finish(
                    read_stop(native, called=self._calls > 0),
                    sequence=text_of(delta.get("stop_sequence")),
                    native=native,
                    detail=b"" if details == b"null" else details,
                )
            )
        if document.get("usage"):
            self._counters.update(document["usage"])
            self._out.append(Counted(self._counters.usage()))

    def _message_stop(self, document: dict[str, Any], data: bytes) -> None:
        self._begin()
        self._stop_blocks()
        if not self._finished:
            self._out.append(Finish(read_stop("", called=self._calls > 0)))
        self._close(End())

    def _ping(self, document: dict[str, Any], data: bytes) -> None:
        if self._begun:
            self._out.append(Ping())

    def _message(self, document: dict[str, Any], data: bytes) -> None:
        """A whole answer where a stream was asked for."""
        if self._begun:
            self._fail("The model provider began its answer a second time.")
            return
        from fastanchor.dialects.anthropic.answer import read_answer  # which reads blocks with this module's words

        self._closed = True
        self._out += read_answer(data)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._out.append(Begin("", ""))

    def _say(self, event: Event) -> None:
        self._content = True
        self._out.append(event)

    def _stop(self, index: object) -> None:
        opened = self._open.pop(index)
        if opened.whole not in _EMPTY_INPUT:
            self._say(Arguments(opened.number, opened.whole))
        self._out.append(BlockEnd(opened.number))

    def _stop_blocks(self) -> None:
        for index in list(self._open):
            self._stop(index)

    def _finish_stream(self) -> None:
        self._close(End() if self._finished else Failed(Fault(Kind.TRUNCATED)))

    def _fail(self, message: str) -> None:
        self._close(Failed(Fault(Kind.MALFORMED_ANSWER, message)))

    def _close(self, event: End | Failed) -> None:
        self._closed = True
        self._open.clear()
        self._out.append(event)


_HANDLERS: dict[str, Callable[[MessagesDecoder, dict[str, Any], bytes], None]] = {
    "message_start": MessagesDecoder._message_start,
    "content_block_start": MessagesDecoder._block_start,
    "content_block_delta": MessagesDecoder._block_delta,
    "content_block_stop": MessagesDecoder._block_stop,
    "message_delta": MessagesDecoder._message_delta,
    "message_stop": MessagesDecoder._message_stop,
    "ping": MessagesDecoder._ping,
    "message": MessagesDecoder._message,
}


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _member(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _index(document: dict[str, Any]) -> object:
    index = document.get("index")
    return index if isinstance(index, int) else 0
