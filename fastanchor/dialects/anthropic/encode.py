"""Events as a Messages stream.

What the official accumulators demand, and this encoder keeps:

- every frame has an `event:` line whose name is the data's `type`;
- block indices rise from 0 without a gap and one block is open at a time: blocks that overlap wait for their turn;
- `message_start` and `message_delta` carry usage, and the first one's `input_tokens` is never 0: clients show their
  context's size, and compact it, by that number;
- `stop_reason` is never null at the end.

Thinking of another vendor goes out without a signature, and only to a client that asked to see thinking. What only
another vendor understands (its signatures, citations, hosted items) is left out.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from fastanchor.core.call import Call
from fastanchor.core.events import (
    Arguments,
    Begin,
    Block,
    BlockEnd,
    BlockStart,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Ping,
    Refusal,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.anthropic import frames
from fastanchor.dialects.anthropic.faults import error_event
from fastanchor.dialects.anthropic.stops import write_stop
from fastanchor.dialects.anthropic.usage import write_usage
from fastanchor.dialects.contract import Answering

MAX_WAITING = 32 * 1024 * 1024
"""Bytes of blocks that wait for their turn; more ends the stream."""

BYTES_PER_TOKEN = 4


@dataclass(slots=True)
class _Block:
    """One block on its way out: its start and the deltas that have not been sent."""

    start: bytes
    custom: bool = False
    deltas: list[bytes] = field(default_factory=list)
    ended: bool = False
    text: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    free: bytearray = field(default_factory=bytearray)  # a custom tool's text, kept until it can be one JSON string


class MessagesEncoder:
    """Events of one answer → frames."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._wants = Wants(answering.call)
        self._out: list[bytes] = []
        self._begin: Begin | None = None  # seen, but `message_start` is not yet written
        self._begun = False
        self._closed = False
        self._blocks: dict[int, _Block] = {}  # in order of opening; the first is the open one
        self._index = 0  # of the open block, or of the next
        self._open = False
        self._waiting = 0
        self._ids: set[str] = set()
        self._called = False
        self._refused = False
        self._finish = Finish(Stop.END)
        self._usage = Usage()
        self._written = 0  # characters of output, for an answer whose usage never comes

    def feed(self, events: Iterable[Event]) -> bytes:
        """The frames that these events become."""
        for event in events:
            if self._closed:
                break
            self._event(event)
        if self._begin is not None and not self._closed:
            self._message_start()
        out, self._out = self._out, []
        return b"".join(out)

    def _event(self, event: Event) -> None:
        if isinstance(event, Failed):
            self._fail(event.fault)
        elif isinstance(event, Begin):
            self._begin = event
        elif isinstance(event, Counted):
            self._usage.update(event.usage)
        else:
            self._message_start()  # only now, for it may carry the usage that came with Begin
            self._content(event)

    def _content(self, event: Event) -> None:
        if isinstance(event, BlockStart):
            self._block_start(event)
        elif isinstance(event, BlockEnd):
            self._block_end(event.block)
        elif isinstance(event, Arguments):
            self._arguments(event)
        elif isinstance(event, Finish):
            self._finish = event if event.choice == 0 else self._finish
        elif isinstance(event, End):
            self._end()
        elif isinstance(event, Ping):
            self._out.append(frames.PING)
        elif not isinstance(event, (Begin, Counted, Failed)) and event.block in self._blocks:
            if isinstance(event, (Text, Refusal, Thought)):
                self._written += len(event.text)
            self._say(event.block, frames.delta(event))

    def _message_start(self) -> None:
        if self._begun:
            return
        self._begun = True
        begin, self._begin = self._begin or Begin("", ""), None
        usage = write_usage(self._estimated(1), detailed=True)
        if begin.service_tier:
            usage["service_tier"] = begin.service_tier
        message: dict[str, object] = {
            "id": message_id(begin.id, self._answering.request_id),
            "type": "message",
            "role": "assistant",
            "model": self._answering.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": usage,
        }
        self._out.append(frames.frame(b"message_start", b'"message":' + orjson.dumps(message) + b"}"))
        self._out.append(frames.PING)

    def _estimated(self, output: int) -> Usage:
        return self._usage.completed(max(1, self._answering.call.prompt_tokens), output)

    def _block_start(self, start: BlockStart) -> None:
        if not self._wants.block(start):
            return
        tool_id = tool_name = ""
        if start.kind in (Block.TOOL, Block.CUSTOM):
            self._called = True
            tool_id = frames.legal_id(start.tool_id, f"{self._answering.request_id}_{start.block}", self._ids)
            tool_name = start.tool_name
        self._refused = self._refused or start.kind is Block.REFUSAL
        self._blocks[start.block] = _Block(frames.opening(start, tool_id, tool_name), start.kind is Block.CUSTOM)
        if not self._open:
            self._open_next()

    def _arguments(self, event: Arguments) -> None:
        block = self._blocks.get(event.block)
        if block is None:
            return
        self._written += len(event.data)
        if block.custom:
            block.free += event.data
            self._hold(len(event.data))
            return
        piece = block.text.decode(event.data)
        if piece:
            self._say(event.block, frames.input_delta(piece))

    def _say(self, number: int, delta: bytes) -> None:
        """Send a delta of the open block, keep one of a block that waits."""
        if not delta:
            return
        if next(iter(self._blocks)) == number:
            self._out.append(frames.block_delta(self._index, delta))
        else:
            self._blocks[number].deltas.append(delta)
            self._hold(len(delta))

    def _hold(self, size: int) -> None:
        self._waiting += size
        if self._waiting > MAX_WAITING:
            self._fail(Fault(Kind.MALFORMED_ANSWER, "The model provider's answer cannot be put in order."))

    def _block_end(self, number: int) -> None:
        block = self._blocks.get(number)
        if block is None:
            return
        if block.custom:
            text = block.free.decode("utf-8", "replace")
            self._say(number, frames.input_delta(orjson.dumps({"input": text}).decode()))
        rest = block.text.decode(b"", final=True)
        if rest:
            self._say(number, frames.input_delta(rest))
        block.ended = True
        while self._open and next(iter(self._blocks.values())).ended:
            self._stop_open()
            self._open_next()

    def _open_next(self) -> None:
        """Start the block whose turn it is, and say what it has been holding."""
        block = next(iter(self._blocks.values()), None)
        if block is None:
            return
        self._open = True
        self._out.append(frames.block_start(self._index, block.start))
        for delta in block.deltas:
            self._out.append(frames.block_delta(self._index, delta))
            self._waiting -= len(delta)
        block.deltas.clear()

    def _stop_open(self) -> None:
        self._out.append(frames.block_stop(self._index))
        self._blocks.pop(next(iter(self._blocks)))
        self._index += 1
        self._open = False

    def _end(self) -> None:
        for number in list(self._blocks):  # a decoder that keeps the grammar leaves none
            self._block_end(number)
        finish = self._finish
        delta: dict[str, object] = {
            "stop_reason": write_stop(finish.stop, called=self._called, refused=self._refused),
            "stop_sequence": finish.sequence or None,
            "stop_details": details_of(finish),
        }
        usage = write_usage(self._estimated(max(1, self._written // BYTES_PER_TOKEN)))
        body = orjson.dumps({"delta": delta, "usage": usage})
        self._out += [frames.frame(b"message_delta", body[1:]), frames.MESSAGE_STOP]
        if self._answering.options.get("anthropic_done") == "1":
            self._out.append(frames.DONE)
        self._closed = True

    def _fail(self, fault: Fault) -> None:
        if not self._closed:
            self._out.append(error_event(fault, self._answering.request_id))
            self._closed = True


class Wants:
    """Which blocks of an answer its client can take."""

    def __init__(self, call: Call) -> None:
        asked = call.prompt.reasoning if call.prompt is not None else None
        self._thoughts = call.prompt is None or (asked is not None and asked.include)

    def block(self, start: BlockStart) -> bool:
        """Only the first choice has a place; hosted and redacted blocks only when they are Anthropic's own."""
        if start.choice != 0:
            return False
        if start.kind is Block.THOUGHT:
            return self._thoughts
        if start.kind in (Block.HOSTED, Block.REDACTED):
            return start.dialect == frames.NAME and bool(start.data)
        return True


def message_id(given: str, request_id: str) -> str:
    """The provider's id when it is a message's, else one made of the request's."""
    return given if given.startswith("msg_") else f"msg_{request_id}"


def details_of(finish: Finish) -> object:
    """`stop_details`, which only Anthropic itself knows."""
    return orjson.Fragment(frames.on_one_line(finish.detail)) if finish.detail else None
