"""Events as a whole chat answer: one `chat.completion` object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from fastanchor.core.events import (
    Arguments,
    Begin,
    Block,
    BlockStart,
    Citation,
    Counted,
    Event,
    Finish,
    Refusal,
    Signature,
    Text,
    Thought,
)
from fastanchor.core.usage import Usage
from fastanchor.dialects.arguments import as_text
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.openai_chat.citations import annotation
from fastanchor.dialects.openai_chat.encode import LEGACY, minted
from fastanchor.dialects.openai_chat.observe import BYTES_PER_TOKEN
from fastanchor.dialects.openai_chat.reasoning import redacted_row, signed_row
from fastanchor.dialects.openai_chat.stops import write_stop
from fastanchor.dialects.openai_chat.usage import write_usage


@dataclass(slots=True)
class _Tool:
    start: BlockStart
    arguments: bytearray = field(default_factory=bytearray)
    signature: str = ""


@dataclass(slots=True)
class Choice:
    """One choice, gathered."""

    content: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    tools: list[_Tool] = field(default_factory=list)
    annotations: list[bytes] = field(default_factory=list)
    scores: dict[str, list[bytes]] = field(default_factory=lambda: {"content": [], "refusal": []})
    finish: Finish | None = None

    @property
    def text(self) -> str:
        return "".join(self.content)

    @property
    def reason(self) -> str:
        """The `finish_reason`; an answer without one was cut by nobody, so it ended."""
        if self.finish is None:
            return "tool_calls" if self.tools else "stop"
        return write_stop(self.finish.stop, tools=bool(self.tools), refused=bool(self.refusal))


class Gathered:
    """A whole answer out of its events, choice by choice."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.begin = Begin("", "")
        self.usage = Usage()
        self.choices: dict[int, Choice] = {}
        self.size = 0  # bytes of text
        self._blocks: dict[int, tuple[Choice, _Tool | list[str] | None]] = {}
        for event in events:
            self._add(event)

    def counted(self, answering: Answering) -> Usage:
        """The usage, estimated where the provider says nothing."""
        return self.usage.completed(answering.call.prompt_tokens, -(-self.size // BYTES_PER_TOKEN))

    def _add(self, event: Event) -> None:
        match event:
            case Begin():
                self.begin = event
            case BlockStart():
                self._start(event)
            case Text() | Refusal():
                self._say(event)
            case Thought():
                self._think(event)
            case Arguments():
                tool = self._blocks[event.block][1]
                if isinstance(tool, _Tool):
                    tool.arguments += event.data
                    self.size += len(event.data)
            case Signature():
                self._sign(event)
            case Citation():
                choice = self._blocks[event.block][0]
                row = annotation(event, len(choice.text))
                choice.annotations += [row] if row else []
            case Counted():
                self.usage.update(event.usage)
            case Finish():
                self._choice(event.choice).finish = event

    def _choice(self, number: int) -> Choice:
        return self.choices.setdefault(number, Choice())

    def _start(self, event: BlockStart) -> None:
        choice = self._choice(event.choice)
        held: _Tool | list[str] | None = None
        if event.kind in (Block.TOOL, Block.CUSTOM):
            held = _Tool(event)
            choice.tools.append(held)
        elif event.kind is Block.THOUGHT:
            held = []
        elif event.kind is Block.REDACTED:
            row = redacted_row(event, len(choice.details))
            choice.details += [row] if row else []
        self._blocks[event.block] = (choice, held)

    def _say(self, event: Text | Refusal) -> None:
        choice = self._blocks[event.block][0]
        kind = "content" if isinstance(event, Text) else "refusal"
        (choice.content if isinstance(event, Text) else choice.refusal).append(event.text)
        choice.scores[kind] += [event.logprobs] if event.logprobs else []
        self.size += len(event.text)

    def _think(self, event: Thought) -> None:
        choice, held = self._blocks[event.block]
        choice.thought.append(event.text)
        self.size += len(event.text)
        if isinstance(held, list):
            held.append(event.text)

    def _sign(self, event: Signature) -> None:
        choice, held = self._blocks[event.block]
        if isinstance(held, _Tool):
            held.signature = event.data if event.dialect == "gemini" else ""
        else:
            choice.details.append(signed_row(event, "".join(held or ()), len(choice.details)))


def write_answer(events: Iterable[Event], answering: Answering) -> bytes:
    """The `chat.completion` object."""
    gathered = Gathered(events)
    return orjson.dumps({
        "id": minted("chatcmpl-", answering.request_id),
        "object": "chat.completion",
        "created": gathered.begin.created or answering.created,
        "model": answering.model,
        "choices": [_choice(number, gathered.choices[number], answering) for number in sorted(gathered.choices)],
        "usage": write_usage(gathered.counted(answering)),
    })


def _choice(number: int, choice: Choice, answering: Answering) -> dict[str, object]:
    reason = choice.reason
    said = message(number, choice, answering)
    if reason == "tool_calls" and "function_call" in said:
        reason = "function_call"
    scored = any(choice.scores.values())
    logprobs = {kind: joined(arrays) if arrays else None for kind, arrays in choice.scores.items()}
    return {
        "index": number, "message": said, "logprobs": logprobs if scored else None, "finish_reason": reason,
    }  # fmt: skip


def message(number: int, choice: Choice, answering: Answering) -> dict[str, object]:
    """The `message` of a choice."""
    bare = choice.tools or choice.refusal
    said: dict[str, object] = {
        "role": "assistant",
        "content": choice.text or (None if bare else ""),
        "refusal": "".join(choice.refusal) or None,
    }
    if choice.thought:
        said["reasoning_content"] = "".join(choice.thought)
    if choice.details:
        said["reasoning_details"] = choice.details
    if choice.annotations:
        said["annotations"] = [orjson.Fragment(row) for row in choice.annotations]
    if choice.tools and LEGACY in answering.call.options:
        first = choice.tools[0]
        said["function_call"] = {"name": first.start.tool_name, "arguments": as_text(bytes(first.arguments))}
    elif choice.tools:
        prefix = minted("call_", answering.request_id)
        said["tool_calls"] = [_tool(tool, f"{prefix}_{number}_{at}") for at, tool in enumerate(choice.tools)]
    return said


def _tool(tool: _Tool, id: str) -> dict[str, object]:
    said = as_text(bytes(tool.arguments))
    custom = tool.start.kind is Block.CUSTOM
    call: dict[str, object] = {"id": tool.start.tool_id or id, "type": "custom" if custom else "function"}
    if custom:
        call["custom"] = {"name": tool.start.tool_name, "input": said}
    else:
        call["function"] = {"name": tool.start.tool_name, "arguments": said or "{}"}
    if tool.signature:
        call["extra_content"] = {"google": {"thought_signature": tool.signature}}
    return call


def joined(arrays: list[bytes]) -> orjson.Fragment:
    """Raw JSON arrays as one."""
    inner = (array.strip()[1:-1].strip() for array in arrays)
    return orjson.Fragment(b"[" + b",".join(rows for rows in inner if rows) + b"]")
