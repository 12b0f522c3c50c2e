"""Output items while they are written: each knows the frames of its own life and its JSON at any moment.

An item is added, filled and done. `start` and `finish` bracket its frames; `json()` is what stands in
`response.output`, in the same words as in `output_item.done`. The names of frames and members are those of the OpenAI
API reference, "Streaming events".
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Protocol

import orjson

from fastanchor.dialects.openai_responses.frames import Frames


class OutputItem(Protocol):
    """What the encoder asks of every item."""

    done: bool

    def json(self) -> bytes:
        """The item as it is now."""

    def finish(self, frames: Frames, status: str) -> bytes:
        """The frames that end it. `status` is `completed` or `incomplete`; an item that has ended has none."""


def added(frames: Frames, index: int, item: bytes) -> bytes:
    return frames.frame(b"response.output_item.added", b'"output_index":%d,"item":%b' % (index, item))


def done(frames: Frames, index: int, item: bytes) -> bytes:
    return frames.frame(b"response.output_item.done", b'"output_index":%d,"item":%b' % (index, item))


def _string(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:  # a lone surrogate has no UTF-8
        return orjson.dumps(text.encode("utf-8", "replace").decode())


class TextContent:
    """A content part of a message: text or a refusal."""

    __slots__ = ("_address", "_refusal", "annotations", "length", "logprobs", "open", "texts")

    def __init__(self, address: bytes, *, refusal: bool) -> None:
        self._address = address
        self._refusal = refusal
        self.open = True
        self.texts: list[str] = []
        self.length = 0  # characters
        self.logprobs: list[bytes] = []  # the insides of arrays
        self.annotations: list[bytes] = []

    def start(self, frames: Frames) -> bytes:
        return frames.frame(b"response.content_part.added", b'%b,"part":%b' % (self._address, self.json()))

    def delta(self, frames: Frames, text: str, logprobs: bytes) -> bytes:
        self.texts.append(text)
        self.length += len(text)
        if self._refusal:
            return frames.frame(b"response.refusal.delta", b'%b,"delta":%b' % (self._address, _string(text)))
        inside = logprobs.strip()[1:-1].strip()
        if inside:
            self.logprobs.append(inside)
        members = b'%b,"delta":%b,"logprobs":[%b]' % (self._address, _string(text), inside)
        return frames.frame(b"response.output_text.delta", members)

    def annotate(self, frames: Frames, annotation: bytes) -> bytes:
        self.annotations.append(annotation)
        members = b'%b,"annotation_index":%d,"annotation":%b' % (self._address, len(self.annotations) - 1, annotation)
        return frames.frame(b"response.output_text.annotation.added", members)

    def finish(self, frames: Frames) -> bytes:
        self.open = False
        text = _string("".join(self.texts))
        if self._refusal:
            whole = frames.frame(b"response.refusal.done", b'%b,"refusal":%b' % (self._address, text))
        else:
            members = b'%b,"text":%b,"logprobs":[%b]' % (self._address, text, b",".join(self.logprobs))
            whole = frames.frame(b"response.output_text.done", members)
        return whole + frames.frame(b"response.content_part.done", b'%b,"part":%b' % (self._address, self.json()))

    def json(self) -> bytes:
        text = _string("".join(self.texts))
        if self._refusal:
            return b'{"type":"refusal","refusal":%b}' % text
        return b'{"type":"output_text","text":%b,"annotations":[%b],"logprobs":[%b]}' % (
            text, b",".join(self.annotations), b",".join(self.logprobs)
        )


class Message:
    """An assistant message: its parts follow one another."""

    def __init__(self, item_id: str, index: int) -> None:
        self._id = item_id
        self._index = index
        self._status = "in_progress"
        self.parts: list[TextContent] = []
        self.done = False

    def start(self, frames: Frames) -> bytes:
        return added(frames, self._index, self.json())

    def add(self, frames: Frames, *, refusal: bool) -> bytes:
        address = b'"item_id":"%b","output_index":%d,"content_index":%d' % (
            self._id.encode(), self._index, len(self.parts)
        )
        self.parts.append(TextContent(address, refusal=refusal))
        return self.parts[-1].start(frames)

    def finish(self, frames: Frames, status: str) -> bytes:
        if self.done:
            return b""
        self.done, self._status = True, status
        parts = b"".join(part.finish(frames) for part in self.parts if part.open)
        return parts + done(frames, self._index, self.json())

    def json(self) -> bytes:
        return b'{"id":"%b","type":"message","status":"%b","role":"assistant","content":[%b]}' % (
            self._id.encode(), self._status.encode(), b",".join(part.json() for part in self.parts)
        )


class Reasoning:
    """A reasoning item: one summary part, one part of raw reasoning, or both."""

    def __init__(self, item_id: str, index: int) -> None:
        self._id = item_id.encode()
        self._index = index
        self._texts: dict[bool, list[str]] = {}  # summary or raw → text, in order of opening
        self.encrypted = ""
        self.done = False

    def start(self, frames: Frames) -> bytes:
        return added(frames, self._index, self.json())

    def delta(self, frames: Frames, text: str, *, summary: bool) -> bytes:
        begun = b""
        if summary not in self._texts:
            self._texts[summary] = []
            begun = self._part(frames, b"added", summary)
        self._texts[summary].append(text)
        kind = b"response.reasoning_summary_text.delta" if summary else b"response.reasoning_text.delta"
        return begun + frames.frame(kind, b'%b,"delta":%b' % (self._address(summary), _string(text)))

    def finish(self, frames: Frames, status: str) -> bytes:
        if self.done:
            return b""
        self.done = True
        out = b""
        for summary in self._texts:
            kind = b"response.reasoning_summary_text.done" if summary else b"response.reasoning_text.done"
            text = _string("".join(self._texts[summary]))
            out += frames.frame(kind, b'%b,"text":%b' % (self._address(summary), text))
            out += self._part(frames, b"done", summary)
        return out + done(frames, self._index, self.json())

    def json(self) -> bytes:
        content = b',"content":[%b]' % self._text_part(False) if False in self._texts else b""
        encrypted = b',"encrypted_content":%b' % _string(self.encrypted) if self.encrypted else b""
        return b'{"id":"%b","type":"reasoning","summary":[%b]%b%b}' % (
            self._id, self._text_part(True) if True in self._texts else b"", content, encrypted
        )

    def _part(self, frames: Frames, stage: bytes, summary: bool) -> bytes:
        kind = b"response.reasoning_summary_part." if summary else b"response.content_part."
        return frames.frame(kind + stage, b'%b,"part":%b' % (self._address(summary), self._text_part(summary)))

    def _address(self, summary: bool) -> bytes:
        index = b"summary_index" if summary else b"content_index"
        return b'"item_id":"%b","output_index":%d,"%b":0' % (self._id, self._index, index)

    def _text_part(self, summary: bool) -> bytes:
        kind = b"summary_text" if summary else b"reasoning_text"
        return b'{"type":"%b","text":%b}' % (kind, _string("".join(self._texts[summary])))


class ToolCall:
    """A call of a function (`arguments`) or of a custom tool (`input`). Its text may be cut inside a character."""

    def __init__(
        self, item_id: str, index: int, call_id: str, name: str, *, custom: bool, namespace: str = ""
    ) -> None:
        self._id = item_id.encode()
        self._index = index
        self._custom = custom
        group = b',"namespace":%b' % _string(namespace) if namespace else b""
        self._names = b'"call_id":%b,"name":%b%b' % (_string(call_id), _string(name), group)
        self._status = b"in_progress"
        self._texts: list[str] = []
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.done = False

    def start(self, frames: Frames) -> bytes:
        return added(frames, self._index, self.json())

    def delta(self, frames: Frames, data: bytes) -> bytes:
        text = self._decode(data)
        if not text:
            return b""
        self._texts.append(text)
        kind = b"response.custom_tool_call_input.delta" if self._custom else b"response.function_call_arguments.delta"
        return frames.frame(kind, b'%b,"delta":%b' % (self._address(), _string(text)))

    def finish(self, frames: Frames, status: str) -> bytes:
        """Arguments that are no JSON were cut off: the call stays `incomplete`, so that nobody runs it."""
        if self.done:
            return b""
        self.done = True
        empty = self.delta(frames, b"{}") if not self._custom and not self._texts else b""
        text = "".join(self._texts)
        self._status = status.encode() if self._custom or _is_json(text) else b"incomplete"
        kind, member = (
            (b"response.custom_tool_call_input.done", b"input") if self._custom
            else (b"response.function_call_arguments.done", b"arguments")
        )
        whole = frames.frame(kind, b'%b,"%b":%b' % (self._address(), member, _string(text)))
        return empty + whole + done(frames, self._index, self.json())

    def json(self) -> bytes:
        kind, member = (b"custom_tool_call", b"input") if self._custom else (b"function_call", b"arguments")
        return b'{"id":"%b","type":"%b","status":"%b",%b,"%b":%b}' % (
            self._id, kind, self._status, self._names, member, _string("".join(self._texts))
        )

    def _address(self) -> bytes:
        return b'"item_id":"%b","output_index":%d' % (self._id, self._index)


class Whole:
    """An item that arrives whole: a vendor's own tool at work, or reasoning that only its vendor reads."""

    def __init__(self, index: int, item: bytes) -> None:
        self._index = index
        self._item = item
        self.done = False

    def start(self, frames: Frames) -> bytes:
        return added(frames, self._index, self._item)

    def finish(self, frames: Frames, status: str) -> bytes:
        if self.done:
            return b""
        self.done = True
        return done(frames, self._index, self._item)

    def json(self) -> bytes:
        return self._item


def output_json(items: Sequence[OutputItem]) -> bytes:
    """The `output` array."""
    return b"[%b]" % b",".join(item.json() for item in items)


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
