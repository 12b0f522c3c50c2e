"""Events as GenerateContentResponses, each with what has been gathered since the last.

- A function call leaves whole, at the end of its block: Gemini clients do not put arguments together.
- finishReason and the last usageMetadata leave together in the last document.
- A call whose arguments are not JSON (cut off by the token limit) is not sent: it must not look like one to run.
- JSON goes out without raw line ends, which would break an event; inside JSON strings they are always escaped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from fastanchor.core.events import (
    Arguments,
    Block,
    BlockEnd,
    BlockStart,
    Citation,
    Counted,
    End,
    Event,
    Finish,
    Refusal,
    Signature,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.events import Raw as RawEvent
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.gemini import words

NAME = "gemini"

Json: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class _Open:
    """A block in progress."""

    start: BlockStart
    arguments: bytearray = field(default_factory=bytearray)
    signature: str = ""


@dataclass(slots=True)
class _Candidate:
    """What is gathered for the next document of one choice."""

    parts: list[Json | orjson.Fragment] = field(default_factory=list)
    extra: Json = field(default_factory=dict)
    refused: bool = False
    unreadable: bool = False  # a call was left out
    reason: str = ""


class Documents:
    """Events to GenerateContentResponses; how they are framed is another's business."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._candidates: dict[int, _Candidate] = {}
        self._blocks: dict[int, _Open] = {}
        self._usage: Usage | None = None
        self.ended = False

    def take(self, event: Event) -> None:
        match event:
            case BlockStart():
                self._start(event)
            case Text():
                self._text(event)
            case Refusal():
                self._of(event.block).parts.append({"text": event.text})
            case Thought():
                self._of(event.block).parts.append({"text": event.text, "thought": True})
            case Signature(dialect="gemini"):
                self._sign(event)
            case Arguments():
                self._blocks[event.block].arguments += event.data
            case Citation(dialect="gemini"):
                self._of(event.block).extra.update(_members(event.data))
            case RawEvent(dialect="gemini"):
                self._raw(event)
            case BlockEnd():
                self._end(event.block)
            case Counted():
                self._count(event.usage)
            case Finish():
                self._finish(event)
            case End():
                self.ended = True
            case _:
                pass  # nothing here that Gemini has a word for

    def document(self) -> bytes:
        """What has been gathered, as one document; b"" when there is nothing to say yet.

        Finish reasons wait for the end, so that they stand in the last document of each candidate.
        """
        rows = [
            self._row(index, one)
            for index, one in sorted(self._candidates.items())
            if self.ended or one.parts or one.extra
        ]
        if not rows:
            return b""
        document: Json = {"candidates": rows}
        if self._usage is not None and self._usage.known:
            document["usageMetadata"] = words.usage_out(self._usage)
        document["modelVersion"] = self._answering.model
        document["responseId"] = self._answering.request_id
        return orjson.dumps(document)

    def _row(self, index: int, one: _Candidate) -> Json:
        # an empty text is how Gemini itself says that nothing more comes
        row: Json = {"content": {"parts": one.parts or [{"text": ""}], "role": "model"}}
        if self.ended and one.reason:
            row["finishReason"] = one.reason
        row["index"] = index
        row.update(one.extra)
        one.parts, one.extra = [], {}
        return row

    def _choice(self, index: int) -> _Candidate:
        return self._candidates.setdefault(index, _Candidate())

    def _of(self, block: int) -> _Candidate:
        return self._choice(self._blocks[block].start.choice)

    def _start(self, event: BlockStart) -> None:
        self._blocks[event.block] = _Open(event)
        if event.kind is Block.REFUSAL:
            self._choice(event.choice).refused = True
        elif event.kind is Block.HOSTED and event.dialect == NAME:
            self._choice(event.choice).parts.append(_fragment(event.data))

    def _text(self, event: Text) -> None:
        one = self._of(event.block)
        one.parts.append({"text": event.text})
        if event.logprobs:
            result = one.extra.setdefault("logprobsResult", {"chosenCandidates": [], "topCandidates": []})
            chosen, tops = words.scores_out(event.logprobs)
            result["chosenCandidates"] += chosen
            result["topCandidates"] += tops

    def _sign(self, event: Signature) -> None:
        block = self._blocks[event.block]
        if block.start.kind is Block.TOOL:
            block.signature = event.data
        elif block.start.kind is Block.THOUGHT:
            self._of(event.block).parts.append({"text": "", "thought": True, "thoughtSignature": event.data})
        else:
            self._of(event.block).parts.append({"text": "", "thoughtSignature": event.data})

    def _raw(self, event: RawEvent) -> None:
        one = self._choice(0) if event.block is None else self._of(event.block)
        members = _members(event.data)
        signature = members.pop("thoughtSignature", None)
        if signature is not None:
            one.parts.append({"text": "", "thoughtSignature": signature})
        one.extra.update(members)

    def _end(self, number: int) -> None:
        block = self._blocks.pop(number)
        one = self._choice(block.start.choice)
        if block.start.kind is Block.CUSTOM:
            text = block.arguments.decode("utf-8", "replace")
            one.parts.append(_call(block, orjson.dumps({"input": text})))
        elif block.start.kind is Block.TOOL:
            arguments = _object(bytes(block.arguments))
            if arguments is None:
                one.unreadable = True
            else:
                one.parts.append(_call(block, arguments))

    def _count(self, usage: Usage) -> None:
        if self._usage is None:
            self._usage = Usage()
        self._usage.update(usage)

    def _finish(self, event: Finish) -> None:
        one = self._choice(event.choice)
        one.reason = words.REASONS[event.stop]
        if event.native in words.STOPS and words.STOPS[event.native] is event.stop:
            one.reason = event.native  # Gemini's own, finer word
        if one.reason == "STOP" and one.unreadable:
            one.reason = "MALFORMED_FUNCTION_CALL"
        elif event.stop is Stop.END and one.refused:
            one.reason = "SAFETY"


def _call(block: _Open, arguments: bytes) -> Json:
    call: Json = {"id": block.start.tool_id} if block.start.tool_id else {}
    call |= {"name": block.start.tool_name, "args": _fragment(arguments)}
    part: Json = {"functionCall": call}
    if block.signature:
        part["thoughtSignature"] = block.signature
    return part


def _object(arguments: bytes) -> bytes | None:
    """Arguments as the text of a JSON object: nothing is `{}`, another value is wrapped, None when not JSON."""
    if not arguments.strip():
        return b"{}"
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return None
    return arguments if isinstance(value, dict) else b'{"value":' + arguments + b"}"


def _fragment(data: bytes) -> orjson.Fragment:
    return orjson.Fragment(data.replace(b"\r", b" ").replace(b"\n", b" "))


def _members(data: bytes) -> Json:
    try:
        members = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return members if isinstance(members, dict) else {}
