"""A Responses stream or answer, from any provider that speaks it, as events.

The wire tells everything twice or three times: deltas, `*.done`, `output_item.done` and the terminal snapshot. Deltas
are taken as they come; each later telling only adds what is still missing, so that providers that leave some of them
out (arguments only in `.done`, items only in the snapshot) lose nothing.

- A text or refusal part is a block, a reasoning item is a block (its parts are parted by an empty line), a function or
  custom call is a block, and every other item is a HOSTED block with its raw JSON.
- Only tool calls may overlap: opening another block closes text and reasoning that are open. What still comes for them
  (OpenRouter ends reasoning after the message) opens a new block.
- A reasoning item that only holds `encrypted_content` is a REDACTED block.
- The end is the terminal event. A stream that closes before it was cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from fastanchor._speedups import sse
from fastanchor.core.events import (
    Arguments,
    Begin,
    Block,
    BlockEnd,
    BlockStart,
    Citation,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Refusal,
    Signature,
    Text,
    Thought,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.openai_responses.usage import read_usage
from fastanchor.dialects.openai_responses.wire import (
    Frame,
    Item,
    Part,
    Response,
    arguments_of,
    items_of,
    present,
    read_frame,
    read_item,
    read_part,
    read_response,
    text_of,
    type_of,
)
from fastanchor.dialects.openai_responses.words import CALLS, ENDINGS, NAME
from fastanchor.providers.classify import from_event

MAX_BLOCKS = 4096
MAX_TOOLS = 512

_Key = tuple[int, int]  # output_index and content_index; _WHOLE for what is one block per item
_WHOLE = -1
_TOOLS = (Block.TOOL, Block.CUSTOM)
_READ = ("message", "reasoning", *CALLS)  # items that become blocks of their kinds


@dataclass(slots=True)
class _Open:
    block: int
    kind: Block


@dataclass(slots=True)
class _Told:
    """What has been passed on of one part, whichever blocks it went to."""

    any: bool = False
    arguments: bytearray = field(default_factory=bytearray)
    citations: int = 0
    section: tuple[bool, int] | None = None  # the reasoning part that spoke last: summary or not, and its index


class _Broken(Exception):
    """The upstream has left the bounds of what is read."""


class Decoder:
    """One answer, in pieces. See `contract.Decoder`."""

    def __init__(self) -> None:
        self._sse = sse.Decoder()
        self._blocks = 0
        self._tools = 0
        self._open: dict[_Key, _Open] = {}
        self._told: dict[_Key, _Told] = {}
        self._finished: set[int] = set()
        self._begun = self._over = self._refused = False
        self._handlers: dict[str, Callable[[Frame], Iterator[Event]]] = {
            "response.output_item.added": self._item_added,
            "response.output_text.delta": self._text,
            "response.output_text.done": self._text_done,
            "response.refusal.delta": self._refusal,
            "response.refusal.done": self._refusal_done,
            "response.output_text.annotation.added": self._annotation,
            "response.content_part.done": self._part_done,
            "response.reasoning_summary_text.delta": self._summary,
            "response.reasoning_text.delta": self._reasoning,
            "response.function_call_arguments.delta": self._arguments,
            "response.function_call_arguments.done": self._arguments_done,
            "response.custom_tool_call_input.delta": self._arguments,
            "response.custom_tool_call_input.done": self._arguments_done,
            "response.output_item.done": self._item_done,
            **dict.fromkeys(ENDINGS, self._terminal),
        }

    def feed(self, data: bytes) -> list[Event]:
        try:
            frames = self._sse.feed(data)
        except sse.EventTooLarge:
            return self._fail(Fault(Kind.MALFORMED_ANSWER))
        return [event for frame in frames for event in self._frame(frame.data, frame.event)]

    def end(self) -> list[Event]:
        last = self._sse.end()
        events = self._frame(last.data, last.event, last=True) if last is not None else []
        return events + self._fail(Fault(Kind.TRUNCATED))

    def answer(self, body: bytes) -> list[Event]:
        """A whole answer: the terminal snapshot of a stream that was never sent."""
        said = read_response(body)
        if said is None or not (said.failed or said.whole):
            return self._fail(Fault(Kind.MALFORMED_ANSWER))
        return self._carry(Frame(type="response.completed", response=msgspec.Raw(body)))

    # frames

    def _frame(self, data: bytes, name: bytes, *, last: bool = False) -> list[Event]:
        """The events of one frame. The last one may be half of one, which is a cut, not a malformed answer."""
        if self._over or data.strip() == b"[DONE]":
            return []
        try:
            frame = read_frame(data)
        except ValueError:
            return [] if last else self._fail(Fault(Kind.MALFORMED_ANSWER))
        if frame is None:  # no loss if it is of a kind that says nothing here
            return self._fail(Fault(Kind.MALFORMED_ANSWER)) if type_of(data) in self._handlers else []
        kind = frame.kind(name)
        if kind == "error":
            return self._fail(from_event(data))
        if not kind.startswith("response."):
            return []
        frame.type = kind
        if frame.object == "response":
            frame.response = msgspec.Raw(data)
        return self._carry(frame)

    def _carry(self, frame: Frame) -> list[Event]:
        events: list[Event] = []
        try:
            events.extend(self._begin(frame))
            if handler := self._handlers.get(frame.type or ""):
                events.extend(handler(frame))
        except _Broken:
            events.extend(self._fail(Fault(Kind.MALFORMED_ANSWER)))
        return events

    def _fail(self, fault: Fault) -> list[Event]:
        if self._over:
            return []
        self._over = True
        return [Failed(fault)]

    def _begin(self, frame: Frame) -> Iterator[Event]:
        if not self._begun:
            self._begun = True
            said = read_response(frame.response) or Response()
            yield Begin(said.id or "", said.model or "", said.created, said.service_tier or "")

    def _terminal(self, frame: Frame) -> Iterator[Event]:
        said = read_response(frame.response)
        if said is None:
            raise _Broken
        usage = read_usage(frame.response)
        counted = [Counted(usage)] if usage.known else []
        if said.failed:
            yield from counted
            yield from self._fail(from_event(bytes(frame.response)))
            return
        for index, raw in enumerate(said.output or ()):
            yield from self._finish_item(index, raw)
        yield from self._close()
        self._over = True
        stop = said.stop(calls=self._tools > 0, refused=self._refused)
        yield Finish(stop, native=said.reason or said.status or "")
        yield from counted
        yield End()

    # blocks

    def _start(
        self, key: _Key, kind: Block, *, tool_id: str = "", tool_name: str = "", data: bytes = b""
    ) -> Iterator[Event]:
        self._tools += kind in _TOOLS
        if self._blocks >= MAX_BLOCKS or self._tools > MAX_TOOLS:
            raise _Broken
        yield from self._close(lambda held_key, held: held_key == key or held.kind not in _TOOLS)
        block = self._blocks
        self._blocks += 1
        self._open[key] = _Open(block, kind)
        self._refused = self._refused or kind is Block.REFUSAL
        yield BlockStart(block, kind, 0, tool_id, tool_name, NAME if data else "", data)

    def _close(self, which: Callable[[_Key, _Open], bool] = lambda _key, _held: True) -> Iterator[Event]:
        for key, held in list(self._open.items()):
            if which(key, held):
                del self._open[key]
                yield BlockEnd(held.block)

    def _opened(self, key: _Key, kind: Block) -> Iterator[Event]:
        if key not in self._open:
            yield from self._start(key, kind)

    def _part(self, key: _Key) -> _Told:
        told = self._told.get(key)
        if told is None:
            if len(self._told) >= MAX_BLOCKS:
                raise _Broken
            told = self._told[key] = _Told()
        return told

    # text and refusals

    def _text(self, frame: Frame) -> Iterator[Event]:
        key = (frame.output_index or 0, frame.content_index or 0)
        yield from self._say(key, Block.TEXT, frame.delta or "", items_of(frame.logprobs))

    def _text_done(self, frame: Frame) -> Iterator[Event]:
        key = (frame.output_index or 0, frame.content_index or 0)
        if not self._part(key).any:
            yield from self._say(key, Block.TEXT, text_of(frame.text), items_of(frame.logprobs))

    def _refusal(self, frame: Frame) -> Iterator[Event]:
        yield from self._say((frame.output_index or 0, frame.content_index or 0), Block.REFUSAL, frame.delta or "")

    def _refusal_done(self, frame: Frame) -> Iterator[Event]:
        key = (frame.output_index or 0, frame.content_index or 0)
        if not self._part(key).any:
            yield from self._say(key, Block.REFUSAL, frame.refusal or "")

    def _say(self, key: _Key, kind: Block, text: str, logprobs: bytes = b"") -> Iterator[Event]:
        if not text and not logprobs:
            return
        self._part(key).any = True
        yield from self._opened(key, kind)
        block = self._open[key].block
        yield Text(block, text, logprobs) if kind is Block.TEXT else Refusal(block, text, logprobs)

    def _annotation(self, frame: Frame) -> Iterator[Event]:
        if present(frame.annotation):
            key = (frame.output_index or 0, frame.content_index or 0)
            self._part(key).citations += 1
            yield from self._opened(key, Block.TEXT)
            yield Citation(self._open[key].block, NAME, bytes(frame.annotation))

    def _part_done(self, frame: Frame) -> Iterator[Event]:
        part = read_part(frame.part)
        if part is not None and part.type in ("output_text", "refusal"):
            yield from self._finish_part((frame.output_index or 0, frame.content_index or 0), part)

    def _finish_part(self, key: _Key, part: Part) -> Iterator[Event]:
        """What the part says that has not been passed on, and its end."""
        told = self._part(key)
        if not told.any and part.type == "refusal":
            yield from self._say(key, Block.REFUSAL, part.refusal or "")
        elif not told.any:
            yield from self._say(key, Block.TEXT, part.text or "", items_of(part.logprobs))
        for annotation in (part.annotations or [])[told.citations :]:
            told.citations += 1
            yield from self._opened(key, Block.TEXT)
            yield Citation(self._open[key].block, NAME, bytes(annotation))
        yield from self._close(lambda held_key, _: held_key == key)

    # reasoning

    def _summary(self, frame: Frame) -> Iterator[Event]:
        yield from self._think(frame.output_index or 0, (True, frame.summary_index or 0), frame.delta or "")

    def _reasoning(self, frame: Frame) -> Iterator[Event]:
        yield from self._think(frame.output_index or 0, (False, frame.content_index or 0), frame.delta or "")

    def _think(self, index: int, section: tuple[bool, int], text: str) -> Iterator[Event]:
        if not text:
            return
        key = (index, _WHOLE)
        told = self._part(key)
        yield from self._opened(key, Block.THOUGHT)
        block = self._open[key].block
        if told.section is not None and told.section != section:
            yield Thought(block, "\n\n", section[0])
        told.any, told.section = True, section
        yield Thought(block, text, section[0])

    def _finish_reasoning(self, index: int, item: Item, raw: msgspec.Raw) -> Iterator[Event]:
        key = (index, _WHOLE)
        if not self._part(key).any:
            for summary, parts in ((True, item.summary), (False, item.content)):
                for number, part in enumerate(parts or ()):
                    yield from self._think(index, (summary, number), part.text or "")
        if item.encrypted_content and not self._part(key).any:
            yield from self._start(key, Block.REDACTED, data=bytes(raw))
        elif item.encrypted_content and key in self._open:
            yield Signature(self._open[key].block, NAME, item.encrypted_content)

    # tools

    def _arguments(self, frame: Frame) -> Iterator[Event]:
        key = (frame.output_index or 0, _WHOLE)
        held = self._open.get(key)
        if held is not None and frame.delta:
            yield from self._argue(key, held, frame.delta.encode())

    def _arguments_done(self, frame: Frame) -> Iterator[Event]:
        key = (frame.output_index or 0, _WHOLE)
        if held := self._open.get(key):
            whole = arguments_of(frame.arguments if present(frame.arguments) else frame.input)
            yield from self._argue_rest(key, held, whole)

    def _argue(self, key: _Key, held: _Open, data: bytes) -> Iterator[Event]:
        self._part(key).arguments += data
        yield Arguments(held.block, data)

    def _argue_rest(self, key: _Key, held: _Open, whole: bytes) -> Iterator[Event]:
        """What the deltas left out. Arguments that are written another way than they were streamed add nothing."""
        sent = self._part(key).arguments
        if len(whole) > len(sent) and whole.startswith(sent):
            yield from self._argue(key, held, whole[len(sent) :])

    # items

    def _item_added(self, frame: Frame) -> Iterator[Event]:
        item = read_item(frame.item)
        key = (frame.output_index or 0, _WHOLE)
        if item is not None and item.type in CALLS and item.name and item.call_id and key not in self._told:
            yield from self._start(key, CALLS[item.type], tool_id=item.call_id, tool_name=item.name)
            yield from self._argue_rest(key, self._open[key], arguments_of(_given(item)))

    def _item_done(self, frame: Frame) -> Iterator[Event]:
        yield from self._finish_item(frame.output_index or 0, frame.item)

    def _finish_item(self, index: int, raw: msgspec.Raw) -> Iterator[Event]:
        """What the whole item says that has not been passed on, and the end of its blocks."""
        kind = type_of(raw)
        if index in self._finished or not kind:
            return
        self._finished.add(index)
        if kind not in _READ:
            yield from self._start((index, _WHOLE), Block.HOSTED, data=bytes(raw))
        elif (item := read_item(raw)) is None:
            raise _Broken
        elif kind == "message":
            for number, part in enumerate(item.content or ()):
                yield from self._finish_part((index, number), part)
        elif kind == "reasoning":
            yield from self._finish_reasoning(index, item, raw)
        else:
            yield from self._finish_call((index, _WHOLE), item)
        yield from self._close(lambda held_key, _: held_key[0] == index)

    def _finish_call(self, key: _Key, item: Item) -> Iterator[Event]:
        """A call without an id gets one: its result must be able to name it."""
        if key not in self._told and key not in self._open:
            tool_id = item.call_id or item.id or f"call_{self._blocks}"
            yield from self._start(key, CALLS[item.type or ""], tool_id=tool_id, tool_name=item.name or "")
        if held := self._open.get(key):
            yield from self._argue_rest(key, held, arguments_of(_given(item)))


def _given(item: Item) -> msgspec.Raw:
    return item.input if item.type == "custom_tool_call" else item.arguments
