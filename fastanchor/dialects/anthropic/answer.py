"""A whole, non-streamed answer: read as events, written from events, or only looked at for its usage.

Source: `Message` of the Messages API reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import orjson

from fastanchor._speedups.peek import peek
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
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.anthropic import frames
from fastanchor.dialects.anthropic.content import KINDS, MAX_BLOCKS, MAX_TOOLS, NAME, opening, part, start_of
from fastanchor.dialects.anthropic.encode import BYTES_PER_TOKEN, Wants, details_of, message_id
from fastanchor.dialects.anthropic.stops import read_stop, write_stop
from fastanchor.dialects.anthropic.usage import Counters, write_usage
from fastanchor.dialects.contract import Answering
from fastanchor.providers.classify import from_event


class _Message(msgspec.Struct):
    """What is read of an answer; `content` blocks keep their bytes."""

    content: list[msgspec.Raw]
    id: str = ""
    model: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: msgspec.Raw = msgspec.Raw()
    usage: dict[str, Any] | None = None


def read_answer(body: bytes) -> list[Event]:
    """The answer as events; Failed when it is an error or cannot be read."""
    try:
        document = orjson.loads(body)
        if isinstance(document, dict) and (document.get("type") == "error" or "error" in document):
            return [Failed(from_event(body))]
        return _events(msgspec.json.decode(body, type=_Message))
    except (orjson.JSONDecodeError, msgspec.DecodeError, RecursionError):
        return [Failed(Fault(Kind.MALFORMED_ANSWER))]


def _events(message: _Message) -> list[Event]:
    if len(message.content) > MAX_BLOCKS:
        return [Failed(Fault(Kind.MALFORMED_ANSWER, "The model provider sent too many blocks."))]
    counters = Counters()
    counters.update(message.usage)
    tier = (message.usage or {}).get("service_tier")
    out: list[Event] = [Begin(message.id, message.model, 0, tier if isinstance(tier, str) else "")]
    calls = 0
    for number, raw in enumerate(message.content):
        block = msgspec.json.decode(raw, type=dict[str, Any])
        kind = KINDS.get(str(block.get("type")), Block.HOSTED)
        calls += kind is Block.TOOL
        out += _block(number, kind, block, bytes(raw))
    if calls > MAX_TOOLS:
        return [Failed(Fault(Kind.MALFORMED_ANSWER, "The model provider sent too many blocks."))]
    details = bytes(message.stop_details)
    native = message.stop_reason or ""
    out += [
        Finish(
            read_stop(native, called=calls > 0),
            sequence=message.stop_sequence or "",
            native=native,
            detail=b"" if details == b"null" else details,
        ),
        Counted(counters.usage()),
        End(),
    ]
    return out


def _block(number: int, kind: Block, block: dict[str, Any], raw: bytes) -> list[Event]:
    out: list[Event] = [start_of(number, kind, block, raw), *opening(number, kind, block, raw)]
    if kind is Block.TOOL:
        arguments = bytes(part(raw).input).strip()
        if arguments not in (b"", b"{}", b"null"):
            out.append(Arguments(number, arguments))
    return [*out, BlockEnd(number)]


def usage_of(body: bytes) -> Usage:
    """The usage of an answer that passes through; unknown when it has none."""
    found = peek(body, (b"usage",))
    try:
        usage = orjson.loads(body).get("usage") if found is None else orjson.loads(found.raw(b"usage") or b"null")
    except (orjson.JSONDecodeError, AttributeError):
        return Usage()
    counters = Counters()
    counters.update(usage)
    return counters.usage()


class _Part:
    """One block of an answer that is being written."""

    def __init__(self, start: BlockStart) -> None:
        self.start = start
        self.text: list[str] = []
        self.citations: list[bytes] = []
        self.signature = ""
        self.arguments = bytearray()

    def take(self, event: Event) -> None:
        if isinstance(event, (Text, Refusal, Thought)):
            self.text.append(event.text)
        elif isinstance(event, Arguments):
            self.arguments += event.data
        elif isinstance(event, Citation) and event.dialect == NAME:
            self.citations.append(event.data)
        elif isinstance(event, Signature) and event.dialect == NAME:
            self.signature = event.data

    @property
    def size(self) -> int:
        return sum(map(len, self.text)) + len(self.arguments)


def write_answer(events: Iterable[Event], answering: Answering) -> bytes:
    """The answer as one message. Raises the Fault of an answer that failed."""
    wants = Wants(answering.call)
    parts: dict[int, _Part] = {}
    begin, finish, usage = Begin("", ""), Finish(Stop.END), Usage()
    for event in events:
        if isinstance(event, Failed):
            raise event.fault
        if isinstance(event, Begin):
            begin = event
        elif isinstance(event, Counted):
            usage.update(event.usage)
        elif isinstance(event, Finish):
            finish = event if event.choice == 0 else finish
        elif isinstance(event, BlockStart):
            if wants.block(event):
                parts[event.block] = _Part(event)
        elif (made := parts.get(getattr(event, "block", None) or 0)) is not None:
            made.take(event)
    return _message(begin, list(parts.values()), finish, usage, answering)


def _message(begin: Begin, parts: list[_Part], finish: Finish, usage: Usage, answering: Answering) -> bytes:
    ids: set[str] = set()
    kinds = {made.start.kind for made in parts}
    size = sum(made.size for made in parts)
    counted = usage.completed(max(1, answering.call.prompt_tokens), max(1, size // BYTES_PER_TOKEN))
    told = write_usage(counted, detailed=True)
    if begin.service_tier:
        told["service_tier"] = begin.service_tier
    return orjson.dumps(
        {
            "id": message_id(begin.id, answering.request_id),
            "type": "message",
            "role": "assistant",
            "model": answering.model,
            "content": [_content(made, answering, ids) for made in parts if _says_something(made)],
            "stop_reason": write_stop(
                finish.stop,
                called=bool(kinds & {Block.TOOL, Block.CUSTOM}),
                refused=Block.REFUSAL in kinds,
            ),
            "stop_sequence": finish.sequence or None,
            "stop_details": details_of(finish),
            "usage": told,
        }
    )


def _says_something(made: _Part) -> bool:
    """An empty text block cannot be sent back by the client, so it is not given one."""
    return made.start.kind not in (Block.TEXT, Block.REFUSAL) or any(made.text)


def _content(made: _Part, answering: Answering, ids: set[str]) -> object:
    start, text = made.start, "".join(made.text)
    if start.kind in (Block.HOSTED, Block.REDACTED):
        return orjson.Fragment(start.data)
    if start.kind is Block.THOUGHT:
        return {"type": "thinking", "thinking": _plain(text), "signature": made.signature}
    if start.kind in (Block.TOOL, Block.CUSTOM):
        return {
            "type": "tool_use",
            "id": frames.legal_id(start.tool_id, f"{answering.request_id}_{start.block}", ids),
            "name": start.tool_name,
            "input": _input(start.kind, bytes(made.arguments)),
        }
    block: dict[str, object] = {"type": "text", "text": _plain(text)}
    if made.citations:
        block["citations"] = [orjson.Fragment(citation) for citation in made.citations]
    return block


def _plain(text: str) -> orjson.Fragment:
    return orjson.Fragment(frames.quoted(text))


def _input(kind: Block, arguments: bytes) -> object:
    """The input object: the model's own bytes when they are an object, else wrapped so that they are one."""
    if kind is Block.CUSTOM:
        return {"input": arguments.decode("utf-8", "replace")}
    if not arguments.strip():
        return {}
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {"_raw": arguments.decode("utf-8", "replace")}  # cut off at max_tokens, mostly
    return orjson.Fragment(arguments) if isinstance(value, dict) else {"value": orjson.Fragment(arguments)}
