"""One choice of an answer: its deltas, or its whole message, as blocks.

Chat has no delimiters, so blocks are inferred: another kind of text closes the one before; tool calls stay open, for
their fragments may be interleaved, until the choice ends. What vendors do differently, and is mended here:
- `index` of a tool call missing, starting at 1, or 0 for every call with a new id (a call with a name and a new id is a
  new call); `id` and `name` repeated or empty on continuations; the name later than the first fragment; `arguments`
  null, or an object (Ollama); all of a call in one fragment (xAI);
- reasoning as `reasoning_content` (DeepSeek, Qwen, Kimi, xAI, vLLM), `reasoning` (Groq, OpenRouter), entries of
  `reasoning_details`, or parts of a `content` array (Mistral).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from fastanchor.core.events import (
    Arguments,
    Block,
    BlockEnd,
    BlockStart,
    Citation,
    Event,
    Finish,
    Refusal,
    Signature,
    Text,
    Thought,
)
from fastanchor.dialects.openai_chat.documents import child, rows, text
from fastanchor.dialects.openai_chat.reasoning import NAME, dialect_of, redacted
from fastanchor.dialects.openai_chat.stops import read_stop

MAX_TOOLS = 512
MAX_HELD = 1024 * 1024  # bytes of arguments that wait for their tool's name


class Broken(Exception):
    """The answer cannot be read without loss, or is beyond the bounds."""


@dataclass(slots=True)
class _Tool:
    id: str = ""
    name: str = ""
    custom: bool = False
    block: int | None = None
    held: bytearray = field(default_factory=bytearray)


class ChoiceReader:
    """Reads one choice. `number` gives out block numbers; events go to `emit`."""

    def __init__(self, choice: int, number: Callable[[], int], emit: Callable[[Event], None]) -> None:
        self.finished = False
        self._choice = choice
        self._number = number
        self._emit = emit
        self._native = ""
        self._open: tuple[Block, int] | None = None
        self._tools: list[_Tool] = []
        self._by_key: dict[object, _Tool] = {}
        self._called = self._refused = False
        self._plain = False  # thinking comes as a plain string: the entries that repeat it only add their proofs

    def take(self, choice: dict[str, Any]) -> None:
        """One delta, or a whole message. Raises Broken."""
        delta = choice.get("delta")
        whole = not isinstance(delta, dict)
        said = delta if isinstance(delta, dict) else child(choice, "message")
        if _is_plain(choice, said):
            self._emit(Text(self._block(Block.TEXT), said["content"]))
            return
        logprobs = child(choice, "logprobs")
        self._take_reasoning(said)
        self._take_content(said.get("content"), _scores(logprobs, "content"))
        self._take_refusal(text(said.get("refusal")), _scores(logprobs, "refusal"))
        for annotation in rows(said.get("annotations")):
            self._emit(Citation(self._block(Block.TEXT), NAME, orjson.dumps(annotation)))
        for position, fragment in enumerate(rows(said.get("tool_calls"))):
            self._take_tool(fragment, position if whole else None)
        if isinstance(said.get("function_call"), dict):
            self._take_tool({"id": "function_call", "function": said["function_call"]}, None)
        reason = text(choice.get("finish_reason"))
        if reason:
            self.finished = True
            self._native = reason
            self.close()

    def close(self) -> None:
        """Close every open block. Raises Broken for a tool call that never told its name."""
        self._close_text()
        for tool in self._tools:
            if tool.block is None:
                raise Broken
            self._emit(BlockEnd(tool.block))
        self._tools.clear()
        self._by_key.clear()

    def finish(self) -> Finish:
        """Why the choice ended; without a finish reason, a plain end."""
        stop = read_stop(self._native or "stop", tools=self._called, refused=self._refused)
        return Finish(stop, self._choice, native=self._native)

    def _block(self, kind: Block) -> int:
        """The open block of this kind; another kind of text is closed for it."""
        if self._open is not None and self._open[0] is kind:
            return self._open[1]
        self._close_text()
        number = self._number()
        self._open = (kind, number)
        self._emit(BlockStart(number, kind, self._choice))
        return number

    def _close_text(self) -> None:
        if self._open is not None:
            self._emit(BlockEnd(self._open[1]))
            self._open = None

    def _take_content(self, content: object, scores: bytes) -> None:
        if isinstance(content, list):
            for part in rows(content):
                self._take_part(part)
        elif text(content) or scores:
            self._emit(Text(self._block(Block.TEXT), text(content), scores))

    def _take_part(self, part: dict[str, Any]) -> None:
        """A part of a content array (Mistral)."""
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            thought = text(inner) or "".join(text(row.get("text")) for row in rows(inner))
            if thought:
                self._emit(Thought(self._block(Block.THOUGHT), thought, summary=False))
        elif text(part.get("text")):
            self._emit(Text(self._block(Block.TEXT), part["text"]))

    def _take_refusal(self, refusal: str, scores: bytes) -> None:
        if refusal or scores:
            self._refused = True
            self._emit(Refusal(self._block(Block.REFUSAL), refusal, scores))

    def _take_reasoning(self, said: dict[str, Any]) -> None:
        details = rows(said.get("reasoning_details"))
        thought = text(said.get("reasoning_content")) or text(said.get("reasoning"))
        self._plain = self._plain or bool(thought)
        if not self._plain:
            thought = "".join(text(row.get("text")) or text(row.get("summary")) for row in details)
        if thought:
            summary = any(row.get("type") == "reasoning.summary" for row in details)
            self._emit(Thought(self._block(Block.THOUGHT), thought, summary))
        for row in details:
            if text(row.get("signature")):
                self._emit(Signature(self._block(Block.THOUGHT), dialect_of(row), row["signature"]))
            if row.get("type") == "reasoning.encrypted" and text(row.get("data")):
                self._take_encrypted(row)

    def _take_encrypted(self, row: dict[str, Any]) -> None:
        self._close_text()
        number = self._number()
        dialect, data = redacted(row)
        self._emit(BlockStart(number, Block.REDACTED, self._choice, dialect=dialect, data=data))
        self._emit(BlockEnd(number))

    def _take_tool(self, fragment: dict[str, Any], position: int | None) -> None:
        custom = isinstance(fragment.get("custom"), dict)
        said = child(fragment, "custom" if custom else "function")
        index = fragment["index"] if type(fragment.get("index")) is int else position
        tool = self._tool(index, text(fragment.get("id")), text(said.get("name")))
        tool.custom = tool.custom or custom
        arguments = _arguments(said.get("input" if custom else "arguments"))
        if tool.block is None and tool.name:
            self._open_tool(tool)
        if tool.block is None:
            tool.held += arguments
            if len(tool.held) > MAX_HELD:
                raise Broken
        elif arguments:
            self._emit(Arguments(tool.block, arguments))
        signature = text(child(child(fragment, "extra_content"), "google").get("thought_signature"))
        if signature and tool.block is not None:
            self._emit(Signature(tool.block, "gemini", signature))

    def _tool(self, index: int | None, id: str, name: str) -> _Tool:
        """The call that a fragment belongs to, new or known, with what the fragment adds to its id and name."""
        key: object = id if index is None else index
        tool = self._by_key.get(key)
        if index is None and not id and self._tools:
            tool = self._tools[-1]
        if tool is None or (id and tool.id and id != tool.id and name):
            if len(self._tools) >= MAX_TOOLS:
                raise Broken
            tool = self._by_key[key] = _Tool()
            self._tools.append(tool)
        tool.id = tool.id or id
        tool.name = tool.name or name
        return tool

    def _open_tool(self, tool: _Tool) -> None:
        self._close_text()
        self._called = True
        tool.block = self._number()
        kind = Block.CUSTOM if tool.custom else Block.TOOL
        self._emit(BlockStart(tool.block, kind, self._choice, tool_id=tool.id, tool_name=tool.name))
        if tool.held:
            self._emit(Arguments(tool.block, bytes(tool.held)))
            tool.held.clear()


def _is_plain(choice: dict[str, Any], said: dict[str, Any]) -> bool:
    """Whether a choice is what nearly every chunk has: a piece of text and nothing else."""
    content = said.get("content")
    return (
        len(said) == 1 and type(content) is str and content != ""
        and not choice.get("logprobs") and not choice.get("finish_reason")
    )  # fmt: skip


def _scores(logprobs: dict[str, Any], name: str) -> bytes:
    """The `logprobs` entries of one kind as raw JSON, b"" when there are none."""
    entries = logprobs.get(name)
    return orjson.dumps(entries) if isinstance(entries, list) and entries else b""


def _arguments(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return orjson.dumps(value) if isinstance(value, dict) else b""
